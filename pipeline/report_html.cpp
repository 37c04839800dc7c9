#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "pipeline/report.h"
#include "pipeline/results.h"

namespace retort::pipeline {

namespace {

constexpr const char* kStyle = R"(
body{font:15px/1.45 system-ui,sans-serif;color:#1d2430;background:#fff;margin:2rem auto;max-width:76rem;padding:0 1.2rem}
h1{font-size:1.5rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid #d8dde6;padding-bottom:.2rem}
h3{font-size:1rem;margin:1.2rem 0 .3rem}table{border-collapse:collapse;margin:.4rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem;border-bottom:1px solid #e6e9ef;text-align:right}th:first-child,td:first-child{text-align:left;white-space:nowrap}
th{font-weight:600;color:#4a5568}.row{display:flex;flex-wrap:wrap;gap:1rem}svg{font:11px system-ui,sans-serif;fill:#4a5568;max-width:100%;height:auto}
svg .t{font-size:13px;font-weight:600;fill:#1d2430}svg .g{stroke:#e6e9ef}svg .l{fill:none;stroke-width:1.8}
pre{background:#f5f7fa;padding:.7rem;overflow:auto;font-size:12.5px}summary{cursor:pointer;color:#1b6ca8}.muted{color:#6b7280}
)";

/// Metrics of the summary tables, with their headings and whether they are shares of one.
struct Column {
  const char* name;
  const char* heading;
  bool percent;
};
struct Table {
  const char* heading;
  std::vector<Column> columns;
};
const std::vector<Table>& tables() {
  static const std::vector<Table> all = {
      {"Scores",
       {{"top1", "top-1 %", true},
        {"top5", "top-5 %", true},
        {"mean_recall", "mean recall %", true},
        {"calibration_error", "calibration error %", true},
        {"loss", "loss", false},
        {"samples", "samples", false},
        {"parameters", "parameters", false}}},
      {"Training",
       {{"validation_top1", "validation top-1 %", true},
        {"validation_loss", "validation loss", false},
        {"train_top1", "train top-1 %", true},
        {"train_loss", "train loss", false},
        {"steps", "steps", false},
        {"parameters", "parameters", false},
        {"multiply_adds", "multiply-adds", false},
        {"seconds", "seconds", false}}},
      {"Data and logits",
       {{"samples", "samples", false},
        {"classes", "classes", false},
        {"rows", "rows", false},
        {"bytes_per_row", "bytes a row", false},
        {"bytes", "bytes", false},
        {"seconds", "seconds", false}}},
  };
  return all;
}

/// 1234567 -> "1 234 567", with narrow blanks.
std::string grouped(double v) {
  std::string digits = fmt::format("{:.0f}", v);
  for (int at = static_cast<int>(digits.size()) - 3; at > (v < 0 ? 1 : 0); at -= 3)
    digits.insert(static_cast<std::size_t>(at), "&#8239;");
  return digits;
}

std::string cell(const std::vector<double>& values, bool percent) {
  if (values.empty()) return "";
  const double factor = percent ? 100 : 1;
  double mean = 0;
  for (const double v : values) mean += factor * v / static_cast<double>(values.size());
  const auto text = [&](double v) {
    if (percent) return fmt::format("{:.2f}", v);
    if (v == std::floor(v) && std::abs(v) < 1e15) return grouped(v);
    return number_text(v);
  };
  if (values.size() == 1) return text(mean);
  double square = 0;
  for (const double v : values) square += (factor * v - mean) * (factor * v - mean);
  const double deviation = std::sqrt(square / static_cast<double>(values.size() - 1));
  if (deviation == 0) return text(mean);
  return fmt::format("{} &plusmn; {}", text(mean),
                     percent ? fmt::format("{:.2f}", deviation) : number_text(deviation));
}

/// Which table a section belongs to, by the stage that wrote it.
std::size_t table_of(const ReportSection& section) {
  if (!section.metrics.empty()) return 1;
  return section.results.contains("top1") ? 0 : 2;
}

std::string summary_of(const Table& table, const std::vector<const ReportSection*>& sections) {
  std::vector<std::string> groups;
  std::map<std::string, std::map<std::string, std::vector<double>>> values;
  std::map<std::string, std::size_t> seeds;
  for (const auto* section : sections) {
    if (std::find(groups.begin(), groups.end(), section->group) == groups.end())
      groups.push_back(section->group);
    ++seeds[section->group];
    for (const auto& [name, value] : section->results.items())
      if (value.is_number()) values[section->group][name].push_back(value.get<double>());
  }
  std::string head = "<tr><th>section</th><th>seeds</th>", body;
  for (const auto& column : table.columns) head += fmt::format("<th>{}</th>", column.heading);
  for (const auto& group : groups) {
    body += fmt::format("<tr><td>{}</td><td>{}</td>", escape_html(group), seeds[group]);
    for (const auto& column : table.columns) {
      const auto found = values[group].find(column.name);
      body += fmt::format("<td>{}</td>",
                          found == values[group].end() ? "" : cell(found->second, column.percent));
    }
    body += "</tr>";
  }
  return fmt::format("<h3>{}</h3><table>{}</tr>{}</table>", table.heading, head, body);
}

std::string summary(const std::vector<ReportSection>& sections) {
  std::string html;
  for (std::size_t i = 0; i < tables().size(); ++i) {
    std::vector<const ReportSection*> members;
    for (const auto& section : sections)
      if (table_of(section) == i) members.push_back(&section);
    if (!members.empty()) html += summary_of(tables()[i], members);
  }
  return html;
}

std::vector<Series> curves(const std::vector<ReportSection>& sections, const std::string& metric,
                           double factor) {
  std::vector<Series> series;
  for (const auto& section : sections) {
    Series line{section.name, {}};
    for (const auto& point : section.metrics)
      if (point.contains(metric) && point[metric].is_number())
        line.points.emplace_back(point["step"].get<double>(), factor * point[metric].get<double>());
    if (!line.points.empty()) series.push_back(std::move(line));
  }
  return series;
}

std::string evaluation(const ReportSection& section) {
  std::string html = fmt::format("<h3>{}</h3><div class=\"row\">", escape_html(section.name));
  const auto& confusions = section.details.at("confusions");
  if (!confusions.empty()) {
    html += "<table><tr><th>gold</th><th>predicted</th><th>times</th></tr>";
    for (const auto& pair : confusions)
      html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                          escape_html(pair.at("gold").get<std::string>()),
                          escape_html(pair.at("predicted").get<std::string>()),
                          pair.at("count").get<std::uint64_t>());
    html += "</table>";
  }
  std::vector<std::pair<double, const nlohmann::json*>> recall;
  for (const auto& c : section.details.at("classes"))
    if (c.at("samples") > 0)
      recall.emplace_back(c.at("right").get<double>() / c.at("samples").get<double>(), &c);
  std::stable_sort(recall.begin(), recall.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  html += "<table><tr><th>lowest recall</th><th>right</th><th>of</th></tr>";
  for (std::size_t i = 0; i < std::min<std::size_t>(20, recall.size()); ++i)
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                        escape_html(recall[i].second->at("name").get<std::string>()),
                        recall[i].second->at("right").get<std::uint64_t>(),
                        recall[i].second->at("samples").get<std::uint64_t>());
  return html + "</table></div>";
}

}  // namespace

std::string report_html(const std::string& title, const std::vector<ReportSection>& sections) {
  std::string html = fmt::format(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{1}</style>"
      "</head><body><h1>{0}</h1><p class=\"muted\">Retort run report. Values over several seeds "
      "are mean &plusmn; sample deviation.</p><h2>Results</h2>{2}",
      escape_html(title), kStyle, summary(sections));
  const std::string charts =
      chart_svg("Training loss", "step", curves(sections, "train_loss", 1)) +
      chart_svg("Training top-1 %", "step", curves(sections, "train_top1", 100)) +
      chart_svg("Validation loss", "step", curves(sections, "validation_loss", 1)) +
      chart_svg("Validation top-1 %", "step", curves(sections, "validation_top1", 100)) +
      chart_svg("Learning rate", "step", curves(sections, "learning_rate", 1));
  if (!charts.empty()) html += "<h2>Training</h2><div class=\"row\">" + charts + "</div>";
  bool first = true;
  for (const auto& section : sections) {
    if (section.details.is_null()) continue;
    if (first) html += "<h2>Evaluation</h2>";
    first = false;
    html += evaluation(section);
  }
  html += "<h2>Sections</h2>";
  for (const auto& section : sections)
    html += fmt::format("<details><summary>{}{}</summary><pre>{}</pre><pre>{}</pre></details>",
                        escape_html(section.name), section.complete ? "" : " (unfinished)",
                        escape_html(section.results.dump(2)), escape_html(section.configuration));
  return html + "</body></html>\n";
}

}  // namespace retort::pipeline
