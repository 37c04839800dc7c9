// The page's part on similarity labels: how alike the classes of each label matrix are, and which.
#include <algorithm>
#include <array>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "io/json_text.h"
#include "io/label_matrix.h"
#include "pipeline/html.h"
#include "pipeline/inspect_labels.h"
#include "pipeline/report_page.h"
#include "pipeline/report_samples.h"

namespace retort::pipeline {
namespace {

constexpr std::size_t kShownClasses = 12;
constexpr std::size_t kShownOthers = 6;

/// How many classes have a nearest other so similar: bars over cosines.
std::string histogram(const nlohmann::json& bins) {
  const auto counts = bins.get<std::vector<std::uint64_t>>();
  if (counts.empty()) return "";
  constexpr double kWidth = 430, kHeight = 130, kFoot = 95, kLeft = 12, kRight = 12;
  const double step = (kWidth - kLeft - kRight) / static_cast<double>(counts.size());
  const auto most =
      std::max<double>(1, static_cast<double>(*std::max_element(counts.begin(), counts.end())));
  std::string svg = fmt::format(
      R"(<svg viewBox="0 0 {0:g} {1:g}" width="{0:g}" height="{1:g}" role="img"
aria-label="Classes by the cosine of the most similar other"><text x="0" y="12" class="t">Classes by the cosine of the most similar other</text>)",
      kWidth, kHeight);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    const double height = 60 * static_cast<double>(counts[i]) / most;
    svg += fmt::format(
        R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="#7b8794"><title>{}</title></rect>)",
        kLeft + step * static_cast<double>(i), kFoot - height, step * 0.9, height, counts[i]);
  }
  for (const double cosine : std::array{-1.0, -0.5, 0.0, 0.5, 1.0})
    svg += fmt::format(R"(<text x="{:.1f}" y="{:g}" text-anchor="middle">{:g}</text>)",
                       kLeft + (cosine + 1) / 2 * (kWidth - kLeft - kRight), kFoot + 15, cosine);
  return svg + fmt::format(R"(<line x1="{0:g}" x2="{1:g}" y1="{2:g}" y2="{2:g}" class="a"/></svg>)",
                           kLeft, kWidth - kRight, kFoot);
}

/// Samples of the classes, of an evaluation of this run on the same classes; null: there is none.
class Pictures {
 public:
  Pictures(const Report& report, const std::string& class_digest, std::size_t& room) : room_(room) {
    for (const auto& section : report.sections) {
      if (!section.details.is_object()) continue;
      EvaluatedSamples samples(report, section);
      if (samples.class_digest() != class_digest || samples.has_texts()) continue;
      samples_.emplace(std::move(samples));
      return;
    }
  }
  std::string of(std::uint32_t label) {
    if (!samples_) return "";
    const auto first = samples_->first_of(label);
    const std::string shown = first ? samples_->html(*first, room_) : "";
    return shown.empty() ? "" : "<span class=\"likeness\">" + shown + "</span> ";
  }

 private:
  std::size_t& room_;
  std::optional<EvaluatedSamples> samples_;
};

std::string example_table(LabelView& labels, Pictures& pictures) {
  std::string rows;
  std::set<std::uint64_t> shown;
  for (const SimilarPair& pair : labels.strongest(4 * kShownClasses)) {
    for (const std::uint64_t own : {pair.a, pair.b}) {
      if (shown.size() == kShownClasses || !shown.insert(own).second) continue;
      std::string others;
      std::size_t count = 0;
      for (const LabelEntry& entry : labels.entries(own)) {
        if (entry.id == own || count++ == kShownOthers) continue;
        if (count > kShownOthers) break;
        others +=
            fmt::format("<figure>{}<figcaption>{} <small>{:.2f}</small></figcaption></figure>",
                        pictures.of(entry.id), escape_html(shortened(labels.name(entry.id), 40)),
                        labels.cosine(entry.weight));
      }
      rows += fmt::format(R"(<tr><td>{}<div class="name">{}</div></td><td class="w">
<div class="mistakes">{}</div></td></tr>)",
                          pictures.of(static_cast<std::uint32_t>(own)),
                          escape_html(shortened(labels.name(own), 60)), others);
    }
  }
  if (rows.empty()) return "<p>No class is similar to another one: all labels are one-hot.</p>";
  return R"(<div class="wide"><table class="classes"><thead><tr><th>class</th>
<th class="w">most similar <small>(cosine)</small></th></tr></thead><tbody>)" +
         rows + "</tbody></table></div>";
}

std::string matrix_html(const Report& report, const ReportSection& section, bool open,
                        std::size_t& room) {
  LabelView labels(report.folder / section.name);
  Pictures pictures(report, labels.facts().class_digest, room);
  const auto& results = section.results;
  const auto share = [&](const char* name) { return 100 * results.value(name, 0.0); };
  std::string bars;
  if (const auto found = results.find("similarities"); found != results.end())
    bars = histogram(found->at("nearest"));
  return fmt::format(
      R"(<details{}><summary>{} <small>{} classes, {}, self {}</small></summary><p class="muted">A class keeps
{:.1f}&nbsp;% of its own label on average; {:.1f}&nbsp;% of a label is not stored.</p><div class="row"><div>{}</div><div>{}</div></div></details>)",
      open ? " open" : "", escape_html(section.group), labels.facts().classes,
      escape_html(labels.facts().negatives), escape_html(labels.facts().self), share("mean_self"),
      share("mean_discarded"), example_table(labels, pictures), bars);
}

}  // namespace

std::string labels_html(const Report& report) {
  std::string html;
  std::size_t room = kPictureRoom / 2;
  for (const auto& group : report.groups()) {
    const auto members = report.members(group);
    const ReportSection& first = *members.front();
    if (first.stage != "smooth" || first.standing != SectionStanding::complete) continue;
    try {
      html += io::read_fields((report.folder / first.name).string(),
                              [&] { return matrix_html(report, first, html.empty(), room); });
    } catch (const core::Error& error) {
      html += fmt::format("<p class=\"bad\">{}</p>", escape_html(error.what()));
    }
  }
  if (html.empty()) return "";
  return "<section id=\"labels\"><h2>Similar classes</h2>" + html + "</section>";
}

}  // namespace retort::pipeline
