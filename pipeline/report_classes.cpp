// The page's part on single classes: what an evaluation got wrong most, with its samples.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "io/json_text.h"
#include "pipeline/comparison.h"
#include "pipeline/html.h"
#include "pipeline/report_page.h"
#include "pipeline/report_samples.h"

namespace retort::pipeline {
namespace {

constexpr std::size_t kMostClasses = 12;
constexpr std::size_t kMostPairs = 12;

struct ClassRecall {
  std::uint32_t label = 0;
  std::string name;
  double right = 0, samples = 0;  // summed over seeds
  double recall() const { return right / samples; }
};

/// Classes with labelled samples, lowest recall over all seeds first.
std::vector<ClassRecall> recalls(const std::vector<const ReportSection*>& members) {
  std::vector<ClassRecall> classes;
  for (const auto* section : members) {
    const auto& own = section->details.at("classes");
    classes.resize(std::max(classes.size(), own.size()));
    for (std::uint32_t c = 0; c < own.size(); ++c) {
      classes[c].label = c;
      classes[c].name = own[c].at("name").get<std::string>();
      classes[c].right += own[c].at("right").get<double>();
      classes[c].samples += own[c].at("samples").get<double>();
    }
  }
  std::erase_if(classes, [](const auto& c) { return !(c.samples > 0); });
  std::stable_sort(classes.begin(), classes.end(),
                   [](const auto& a, const auto& b) { return a.recall() < b.recall(); });
  return classes;
}

/// How recalls are spread: ten bars, 0 to 100 %.
std::string histogram(const std::vector<ClassRecall>& classes) {
  constexpr std::size_t kBins = 10;
  constexpr double kWidth = 400, kHeight = 130, kFoot = 95, kBar = 36;
  std::vector<std::size_t> bins(kBins);
  for (const auto& c : classes)
    ++bins[std::min(kBins - 1, static_cast<std::size_t>(c.recall() * kBins))];
  const auto most = static_cast<double>(*std::max_element(bins.begin(), bins.end()));
  std::string svg = fmt::format(
      R"(<svg viewBox="0 0 {0:g} {1:g}" width="{0:g}" height="{1:g}" role="img"
aria-label="Classes by recall"><text x="0" y="12" class="t">Classes by recall, %</text>)",
      kWidth, kHeight);
  for (std::size_t i = 0; i < kBins; ++i) {
    const double x = 10 + 38 * static_cast<double>(i);
    const double height = 60 * static_cast<double>(bins[i]) / most;
    if (bins[i] > 0)
      svg += fmt::format(
          R"(<rect x="{:.1f}" y="{:.1f}" width="{:g}" height="{:.1f}" fill="#7b8794"/>
<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>)",
          x, kFoot - height, kBar, height, x + kBar / 2, kFoot - height - 4, bins[i]);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>", x - 1,
                       kFoot + 15, 10 * i);
  }
  return svg + fmt::format(
                   R"(<text x="{:.1f}" y="{:.1f}" text-anchor="middle">100</text>
<line x1="9" x2="389" y1="{:g}" y2="{:g}" class="a"/></svg>)",
                   10 + 38.0 * kBins - 1, kFoot + 15, kFoot, kFoot);
}

std::string name_at(const nlohmann::json& details, std::uint32_t label) {
  const auto& classes = details.at("classes");
  return label < classes.size() ? classes[label].at("name").get<std::string>()
                                : fmt::format("class {}", label);
}

/// One wrong answer: the sample, and what it was taken for.
std::string mistake(const nlohmann::json& details, const nlohmann::json& example,
                    EvaluatedSamples& samples, std::size_t& room) {
  const auto predicted = example.at("predicted").get<std::uint32_t>();
  const std::string shown = samples.html(example.at("sample").get<std::uint64_t>(), room);
  std::string likeness;
  if (!samples.has_texts())
    if (const auto first = samples.first_of(predicted)) likeness = samples.html(*first, room);
  return fmt::format(
      "<figure{}>{}<figcaption>&rarr; {} <small>{:.0f}&nbsp;%</small></figcaption>{}</figure>",
      samples.has_texts() ? " class=\"text\"" : "",
      shown.empty() ? fmt::format("<span class=\"muted\">sample {}</span>",
                                  example.at("sample").get<std::uint64_t>())
                    : shown,
      escape_html(shortened(name_at(details, predicted), 40)),
      100 * example.at("confidence").get<double>(),
      likeness.empty() ? "" : "<div class=\"likeness\">" + likeness + "</div>");
}

/// A class's name: a short one whole where there is room, others broken between their words.
std::string name_html(const std::string& name) {
  constexpr std::size_t kShort = 22;
  std::string html;
  for (const char c : escape_html(shortened(name, 60))) {
    html += c;
    if (c == '_' || c == '/' || c == '-' || c == '.') html += "<wbr>";
  }
  return fmt::format("<div class=\"name{}\">{}</div>", characters(name) <= kShort ? " short" : "",
                     html);
}

std::string worst_table(const std::vector<ClassRecall>& classes,
                        const std::vector<const ReportSection*>& members, EvaluatedSamples& samples,
                        std::size_t& room) {
  std::string rows;
  for (std::size_t i = 0; i < std::min(kMostClasses, classes.size()); ++i) {
    const auto& c = classes[i];
    if (c.right == c.samples) break;
    std::string likeness, mistakes;
    if (!samples.has_texts())
      if (const auto first = samples.first_of(c.label)) likeness = samples.html(*first, room);
    for (const auto* section : members) {
      if (!mistakes.empty() || !section->details.contains("examples")) break;
      for (const auto& example : section->details.at("examples"))
        if (example.at("class").get<std::uint32_t>() == c.label)
          mistakes += mistake(section->details, example, samples, room);
    }

    rows += fmt::format(
        R"(<tr><td>{}{}</td><td>{:.1f}&nbsp;%<div class="bar">
<i style="width:{:.1f}%"></i></div><small>{:g} of {:g}</small></td><td class="w">
<div class="mistakes">{}</div></td></tr>)",
        likeness, name_html(c.name), 100 * c.recall(), 100 * c.recall(), c.right, c.samples,
        mistakes);
  }
  if (rows.empty()) return "<p>No class has a wrong answer.</p>";
  return fmt::format(
      R"(<div class="wide"><table class="classes{}"><thead><tr><th>class</th><th>recall</th>
<th class="w">taken for <small>(most confident first{})</small></th></tr></thead><tbody>{}</tbody>
</table></div>)",
      samples.has_texts() ? " texts" : "",
      samples.has_texts() ? "" : "; small: a sample of that class", rows);
}

std::string pairs_table(const std::vector<const ReportSection*>& members, EvaluatedSamples& samples,
                        std::size_t& room) {
  std::map<std::string, std::uint32_t> labels;
  for (const auto& c : members.front()->details.at("classes"))
    labels.emplace(c.at("name").get<std::string>(), static_cast<std::uint32_t>(labels.size()));
  const auto cell = [&](const std::string& name) {
    std::string likeness;
    if (const auto label = labels.find(name); label != labels.end() && !samples.has_texts())
      if (const auto first = samples.first_of(label->second)) likeness = samples.html(*first, room);
    if (!likeness.empty()) likeness = "<span class=\"likeness\">" + likeness + "</span> ";
    return fmt::format("<td class=\"w\">{}{}</td>", likeness, escape_html(shortened(name, 40)));
  };
  std::map<std::pair<std::string, std::string>, std::uint64_t> counts;
  for (const auto* section : members)
    for (const auto& pair : section->details.at("confusions"))
      counts[{pair.at("gold").get<std::string>(), pair.at("predicted").get<std::string>()}] +=
          pair.at("count").get<std::uint64_t>();
  std::vector<std::pair<std::pair<std::string, std::string>, std::uint64_t>> sorted(counts.begin(),
                                                                                    counts.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (sorted.empty()) return "";
  std::string html =
      R"(<div class="wide"><table class="classes"><thead><tr><th>is</th><th class="w">taken for</th><th>times</th>
</tr></thead><tbody>)";
  for (std::size_t i = 0; i < std::min(kMostPairs, sorted.size()); ++i)
    html += fmt::format("<tr>{}{}<td>{}</td></tr>", cell(sorted[i].first.first),
                        cell(sorted[i].first.second), sorted[i].second);
  return html + "</tbody></table></div>";
}

std::string evaluation(const Report& report, const std::vector<const ReportSection*>& members,
                       bool open, std::size_t& room) {
  const ReportSection& first = *members.front();
  EvaluatedSamples samples(report, first);
  const auto classes = recalls(members);
  if (classes.empty()) return "";
  std::string note;
  if (members.size() > 1)
    note = fmt::format(
        "Counts are over {} seeds; each row shows the answers of the first seed "
        "that lists the class. ",
        members.size());
  if (!samples.obstacle().empty())
    note += fmt::format("No samples are shown: {}.", escape_html(samples.obstacle()));
  return fmt::format(
      R"(<details{}><summary>{} <small>{}, split {}</small></summary>{}<div class="row"><div>{}
</div><div>{}<h4>Most confused</h4>{}</div></div></details>)",
      open ? " open" : "", escape_html(first.group),
      escape_html(report.portable(first.option("data"))), escape_html(first.option("split")),
      note.empty() ? "" : "<p class=\"muted\">" + note + "</p>",
      worst_table(classes, members, samples, room), histogram(classes),
      pairs_table(members, samples, room));
}

/// Those of a section's folders that say what happened to single classes.
std::vector<const ReportSection*> detailed(const Report& report, const std::string& group) {
  auto members = report.members(group);
  std::erase_if(members, [](const auto* section) { return !section->details.is_object(); });
  return members;
}

struct Evaluations {
  std::vector<std::string> groups;  // in the order to show them
  std::size_t open;                 // so many of the first are shown unfolded
};

/// The main comparison's in the order of the cards, then all others in the run's.
Evaluations evaluations(const Report& report, const std::vector<Comparison>& comparisons) {
  Evaluations shown{{}, 0};
  const auto add = [&](const std::string& group) {
    if (detailed(report, group).empty() ||
        std::find(shown.groups.begin(), shown.groups.end(), group) != shown.groups.end())
      return;
    shown.groups.push_back(group);
  };
  if (const Comparison* main = main_comparison(comparisons)) {
    const Headline line = headline(*main);
    for (std::size_t i = 0; i < line.order.size(); ++i) {
      add(main->rows[line.order[i]].scored_by);
      if (i < line.main) shown.open = shown.groups.size();
    }
  }
  for (const auto& group : report.groups()) add(group);
  shown.open = std::max<std::size_t>(1, shown.open);
  return shown;
}

}  // namespace

std::string classes_html(const Report& report, const std::vector<Comparison>& comparisons) {
  const Evaluations shown = evaluations(report, comparisons);
  std::size_t open = shown.open;
  std::string html;
  std::size_t room = kPictureRoom;
  for (const auto& group : shown.groups) {
    const auto members = detailed(report, group);
    try {
      html += io::read_fields((report.folder / members.front()->name / "details.json").string(),
                              [&] { return evaluation(report, members, open > 0, room); });
      open -= std::min<std::size_t>(1, open);
    } catch (const core::DataError& error) {
      html += fmt::format("<p class=\"bad\">{}</p>", escape_html(error.what()));
    }
  }
  if (html.empty()) return "";
  return "<section id=\"classes\"><h2>Worst classes</h2>" + html + "</section>";
}

}  // namespace retort::pipeline
