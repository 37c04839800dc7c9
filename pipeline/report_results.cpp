// The page's tables of numbers: results over seeds, sections, environment.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pipeline/html.h"
#include "pipeline/report_page.h"

namespace retort::pipeline {
namespace {

/// Metrics of the result tables, with their headings.
struct Column {
  const char* name;
  const char* heading;
  NumberForm form;
};
struct Table {
  const char* heading;
  std::vector<Column> columns;
};
const std::vector<Table>& tables() {
  using enum NumberForm;
  static const std::vector<Table> all = {
      {"Scores",
       {{"top1", "top-1 %", percent},
        {"top5", "top-5 %", percent},
        {"mean_recall", "mean recall %", percent},
        {"calibration_error", "calibration error %", percent},
        {"loss", "cross entropy", loss},
        {"samples", "samples", plain},
        {"parameters", "parameters", plain}}},
      {"Last figures of training",
       {{"validation_top1", "validation top-1 %", percent},
        {"validation_loss", "validation loss", loss},
        {"train_top1", "train top-1 %", percent},
        {"train_loss", "train loss", loss},
        {"steps", "steps", plain},
        {"parameters", "parameters", plain},
        {"multiply_adds", "multiply-adds", plain}}},
      {"Data sets and stored answers",
       {{"samples", "samples", plain},
        {"classes", "classes", plain},
        {"rows", "rows", plain},
        {"bytes_per_row", "bytes a row", plain},
        {"bytes", "bytes", plain}}},
  };
  return all;
}

/// Which table a section belongs to.
std::size_t table_of(const ReportSection& section) {
  if (!section.metrics.empty() || section.results.contains("train_loss")) return 1;
  return section.results.contains("top1") || section.stage == "evaluate" ? 0 : 2;
}

bool has_null(const Report& report, const std::string& group, const std::string& metric) {
  const auto members = report.members(group);
  return std::any_of(members.begin(), members.end(), [&](const auto* section) {
    const auto found = section->results.find(metric);
    return found != section->results.end() && found->is_null();
  });
}

/// A section's line in a table; empty cells where it has nothing to say.
struct Line {
  std::string name;  // safe
  std::ptrdiff_t seeds = 0;
  std::vector<std::string> cells;
  std::string time;  // a whole cell
};

/// `prefix`: of the metrics' names; `teach` reports what it stored for an unlabelled set under
/// "unlabelled_rows" and so on, in a line of its own.
std::vector<std::string> cells_of(const Report& report, const std::string& group,
                                  const Table& table, const std::string& prefix,
                                  const std::vector<MetricSummary>& summaries) {
  std::vector<std::string> cells;
  for (const auto& column : table.columns) {
    const std::string name = prefix + column.name;
    const auto found = std::find_if(summaries.begin(), summaries.end(), [&](const auto& s) {
      return s.section == group && s.metric == name;
    });
    std::string cell;
    if (found != summaries.end())
      cell = spread_html({found->count, found->mean, found->deviation, found->half_width},
                         column.form);
    if (has_null(report, group, name))
      cell += cell.empty() ? "not finite" : " <span class=\"bad\">(of finite ones)</span>";
    cells.push_back(std::move(cell));
  }
  return cells;
}

/// How long a section took; sorted by its seconds, not by how they read.
std::string time_cell(const std::vector<const ReportSection*>& members) {
  std::vector<double> seconds;
  for (const auto* section : members)
    if (section->seconds) seconds.push_back(*section->seconds);
  if (seconds.empty()) return "<td></td>";
  const Spread spread = spread_of(seconds);
  return fmt::format("<td data-value=\"{}\">{}</td>", spread.mean,
                     spread_html(spread, NumberForm::seconds));
}

bool says_anything(const std::vector<std::string>& cells) {
  return std::any_of(cells.begin(), cells.end(), [](const auto& cell) { return !cell.empty(); });
}

std::vector<Line> lines_of(const Report& report, const std::vector<MetricSummary>& summaries,
                           std::size_t index) {
  const Table& table = tables()[index];
  std::vector<Line> lines;
  for (const auto& group : report.groups()) {
    const auto members = report.members(group);
    const auto measured = std::count_if(members.begin(), members.end(), [&](const auto* section) {
      return table_of(*section) == index && !section->results.empty();
    });
    if (measured == 0) continue;
    auto labelled = cells_of(report, group, table, "", summaries);
    auto unlabelled = cells_of(report, group, table, "unlabelled_", summaries);
    const bool has_unlabelled = says_anything(unlabelled);
    std::string time = time_cell(members);  // of both parts together: in the first line
    if (!has_unlabelled || says_anything(labelled))
      lines.push_back(
          {escape_html(group), measured, std::move(labelled), std::exchange(time, "<td></td>")});
    if (has_unlabelled)
      lines.push_back({escape_html(group) + " <small>unlabelled</small>", measured,
                       std::move(unlabelled), std::move(time)});
  }
  return lines;
}

std::string table_html(const Report& report, const std::vector<MetricSummary>& summaries,
                       std::size_t index) {
  const auto lines = lines_of(report, summaries, index);
  if (lines.empty()) return "";
  const auto& columns = tables()[index].columns;
  std::string head = "<th>section</th><th>seeds</th>", rows;
  std::vector<char> used(columns.size(), 0);
  for (std::size_t c = 0; c < columns.size(); ++c) {
    used[c] = std::any_of(lines.begin(), lines.end(),
                          [&](const auto& line) { return !line.cells[c].empty(); });
    if (used[c]) head += fmt::format("<th>{}</th>", columns[c].heading);
  }
  for (const auto& line : lines) {
    rows += fmt::format("<tr><td>{}</td><td>{}</td>", line.name, line.seeds);
    for (std::size_t c = 0; c < columns.size(); ++c)
      if (used[c]) rows += "<td>" + line.cells[c] + "</td>";
    rows += line.time + "</tr>";
  }
  head += "<th>time</th>";
  return fmt::format(
      "<h3>{}</h3><div class=\"wide\"><table class=\"sortable\"><thead><tr>{}</tr></thead>"
      "<tbody>{}</tbody></table></div>",
      tables()[index].heading, head, rows);
}

std::string hash_html(const std::string& hash) {
  if (hash.empty()) return "";
  return fmt::format("<code title=\"{0}\">{1}</code>", escape_html(hash),
                     escape_html(hash.substr(0, 12)));
}

std::string standing_html(const ReportSection& section) {
  const auto word = standing_word(section.standing);
  const bool good = section.standing == SectionStanding::complete;
  std::string html = fmt::format("<span class=\"{}\">{}</span>", good ? "good" : "bad", word);
  if (!good && section.step) html += fmt::format(" at step {}", *section.step);
  return html;
}

/// Options of a section, with references instead of paths, without what only says where and when.
std::map<std::string, std::string> shown_options(const Report& report,
                                                 const ReportSection& section) {
  std::map<std::string, std::string> options;
  for (const auto& [name, value] : section.options)
    if (name != "out" && name != "seed") options[name] = report.portable(value);
  return options;
}

/// Values by name and section. The shorter side becomes the columns: a table is rather long than
/// wide.
std::string options_table(const std::vector<std::string>& names,
                          const std::vector<std::string>& sections,
                          const std::vector<std::vector<std::string>>& values) {
  const bool by_section = names.size() < sections.size();
  const auto& rows = by_section ? sections : names;
  const auto& columns = by_section ? names : sections;
  std::string html = fmt::format("<div class=\"wide\"><table><thead><tr><th>{}</th>",
                                 by_section ? "section" : "option");
  for (const auto& column : columns)
    html += fmt::format("<th class=\"w\">{}</th>", escape_html(column));
  html += "</tr></thead><tbody>";
  constexpr std::size_t kOneLine = 24;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    html += fmt::format("<tr><td>{}</td>", escape_html(rows[r]));
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const auto& value = by_section ? values[c][r] : values[r][c];
      html += fmt::format("<td class=\"w{}\">{}</td>", characters(value) > kOneLine ? " wrap" : "",
                          escape_html(shortened(value, 60)));
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div>";
}

/// Options in which sections of one stage differ.
std::string option_differences(const Report& report) {
  std::map<std::string, std::vector<const ReportSection*>> by_stage;
  for (const auto& group : report.groups()) {
    const auto* first = report.members(group).front();
    if (!first->options.empty()) by_stage[first->stage].push_back(first);
  }
  std::string html;
  for (const auto& [stage, sections] : by_stage) {
    if (sections.size() < 2) continue;
    std::vector<std::string> groups;
    std::map<std::string, std::vector<std::string>> by_name;  // values of each section
    for (std::size_t s = 0; s < sections.size(); ++s) {
      groups.push_back(sections[s]->group);
      for (const auto& [name, value] : shown_options(report, *sections[s])) {
        auto& values = by_name[name];
        values.resize(sections.size());
        values[s] = value;
      }
    }
    std::vector<std::string> names;
    std::vector<std::vector<std::string>> differing;
    for (const auto& [name, values] : by_name)
      if (std::set<std::string>(values.begin(), values.end()).size() > 1) {
        names.push_back(name);
        differing.push_back(values);
      }
    if (!names.empty())
      html +=
          fmt::format("<h3>Options in which sections with <code>stage = {}</code> differ</h3>{}",
                      escape_html(stage), options_table(names, groups, differing));
  }
  return html;
}

std::string group_details(const Report& report, const std::string& group) {
  const auto members = report.members(group);
  std::string html;
  for (const auto* section : members) {
    if (section->configuration.empty()) continue;
    html += fmt::format("<pre>{}</pre>", escape_html(section->configuration));
    break;
  }
  for (const auto* section : members)
    if (!section->results.empty())
      html += fmt::format("<h4>{}</h4><pre>{}</pre>", escape_html(section->name),
                          escape_html(section->results.dump(
                              1, ' ', false, nlohmann::json::error_handler_t::replace)));
  if (html.empty()) return "";
  return fmt::format(
      "<details class=\"raw\"><summary>{}: options{} and results</summary>{}</details>",
      escape_html(group), members.size() > 1 ? " (of the first seed)" : "", html);
}

}  // namespace

std::string results_html(const Report& report) {
  const auto summaries = summaries_of(report);
  std::string html;
  for (std::size_t i = 0; i < tables().size(); ++i) html += table_html(report, summaries, i);
  if (html.empty()) return "";
  return R"(<section id="results"><h2>Results</h2><p class="muted">Over several seeds: mean
&plusmn; deviation of the sample (n&nbsp;&minus;&nbsp;1).</p>)" +
         html + "</section>";
}

std::string sections_html(const Report& report) {
  constexpr std::size_t kUnfolded = 40;
  std::string html = fmt::format(
      R"(<section id="sections"><h2>Sections</h2><details{}><summary>{} sections</summary>
<div class="wide"><table class="sortable"><thead><tr><th>section</th><th class="w">stage</th>
<th class="w">state</th><th>time</th><th>content</th><th>recipe</th></tr></thead><tbody>)",
      report.sections.size() <= kUnfolded ? " open" : "", report.sections.size());
  for (const auto& section : report.sections)
    html += fmt::format(
        R"(<tr><td>{}</td><td class="w">{}</td><td class="w">{}</td><td data-value="{}">{}</td><td>{}</td>
<td>{}</td></tr>)",
        escape_html(section.name), escape_html(section.stage), standing_html(section),
        section.seconds.value_or(0), section.seconds ? seconds_text(*section.seconds) : "",
        hash_html(section.content_digest), hash_html(section.recipe_hash));
  html += "</tbody></table></div></details>";
  html += option_differences(report);
  if (!report.plan.empty()) {
    html += "<h3>Plan</h3>";
    for (const auto& item : report.overrides)
      html += fmt::format("<p><code>--set {}</code></p>", escape_html(item));
    html += fmt::format("<details class=\"raw\"><summary>plan.ini</summary><pre>{}</pre></details>",
                        escape_html(report.plan));
  }
  for (const auto& group : report.groups()) html += group_details(report, group);
  return html + "</section>";
}

std::string environment_html(const Report& report) {
  static const std::vector<std::pair<const char*, const char*>> kRows = {
      {"retort", "Retort"},   {"torch", "LibTorch"},
      {"kernels", "kernels"}, {"mpi", "MPI"},
      {"hdf5", "HDF5"},       {"processor", "processor"},
      {"ranks", "ranks"},     {"threads", "threads a rank"}};
  // Equal environments are shown once, with the sections that had them.
  std::vector<std::pair<nlohmann::json, std::vector<std::string>>> environments;
  for (const auto& section : report.sections) {
    if (!section.results.contains("environment")) continue;
    const auto& own = section.results.at("environment");
    auto found = std::find_if(environments.begin(), environments.end(),
                              [&](const auto& e) { return e.first == own; });
    if (found == environments.end())
      found = environments.emplace(found, own, std::vector<std::string>());
    if (found->second.empty() || found->second.back() != section.group)
      found->second.push_back(section.group);
  }
  if (environments.empty()) return "";
  std::string head = "<th></th>", body;
  for (const auto& [own, sections] : environments)
    head += environments.size() == 1
                ? "<th class=\"w\">all sections</th>"
                : fmt::format("<th class=\"w wrap\">{}</th>",
                              escape_html(fmt::format("{}", fmt::join(sections, ", "))));
  for (const auto& [name, heading] : kRows) {
    body += fmt::format("<tr><td>{}</td>", heading);
    for (const auto& [own, sections] : environments) {
      const auto value = own.is_object() ? own.value(name, nlohmann::json()) : nlohmann::json();
      const std::string text = value.is_null()     ? ""
                               : value.is_string() ? value.get<std::string>()
                                                   : value.dump();
      body += fmt::format("<td class=\"w\">{}</td>", escape_html(text));
    }
    body += "</tr>";
  }
  return fmt::format(
      R"(<section id="environment"><h2>Environment</h2><div class="wide"><table><thead><tr>{}
</tr></thead><tbody>{}</tbody></table></div><p class="muted">Ranks and threads decide no result;
another kind of processor may change the last digits.</p></section>)",
      head, body);
}

}  // namespace retort::pipeline
