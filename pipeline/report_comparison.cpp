// The page's parts that compare: teacher, hard labels, distilled.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pipeline/chart.h"
#include "pipeline/report_page.h"

namespace retort::pipeline {
namespace {

NumberForm form_of(const Comparison& comparison) {
  return comparison.metric == "top1" ? NumberForm::percent : NumberForm::loss;
}

const char* colour_of(Role role) {
  switch (role) {
    case Role::teacher:
      return kTeacherColour;
    case Role::hard:
      return kHardColour;
    case Role::learner:
      break;
  }
  return kLearnerColour;
}

std::vector<double> plain(const std::vector<SeedValue>& values) {
  std::vector<double> numbers;
  numbers.reserve(values.size());
  for (const auto& value : values) numbers.push_back(value.value);
  return numbers;
}

std::string role_text(const ComparedRow& row) {
  if (row.role == Role::learner && row.stage != "distill") return row.stage;
  return std::string(role_word(row.role));
}

std::string interval_text(const Spread& spread, NumberForm form, bool is_difference) {
  if (!spread.half_width) return "";
  const auto text = [&](double v) {
    if (is_difference) return signed_html(v, form);
    return number_html(v, form);
  };
  return fmt::format("{} to {}", text(spread.mean - *spread.half_width),
                     text(spread.mean + *spread.half_width));
}

std::string by_seed(const std::vector<SeedValue>& values, NumberForm form, bool is_difference) {
  std::string text;
  for (const auto& value : values)
    text += fmt::format(
        "{}<span title=\"{}\">{}</span>", text.empty() ? "" : ", ",
        value.seed.empty() ? "one run" : "seed " + escape_html(value.seed),
        is_difference ? signed_html(value.value, form) : number_html(value.value, form));
  return text;
}

std::string verdict(const Comparison& comparison, const Difference& difference) {
  const auto& spread = difference.spread;
  if (!spread.half_width) return "one seed: no interval";
  const double low = spread.mean - *spread.half_width, high = spread.mean + *spread.half_width;
  if (low <= 0 && high >= 0) return "no difference shown";
  return (low > 0) == (comparison.metric == "top1") ? "better" : "worse";
}

std::string title_of(const Comparison& comparison) {
  return comparison.metric == "top1" ? "Top-1 accuracy" : "Cross entropy (lower is better)";
}

/// The best of all but the teachers, if there are others to choose from.
std::optional<std::size_t> best_student(const Comparison& comparison) {
  std::optional<std::size_t> best;
  std::size_t students = 0;
  for (std::size_t i = 0; i < comparison.rows.size(); ++i) {
    const auto& row = comparison.rows[i];
    if (row.role == Role::teacher) continue;
    ++students;
    if (!best || is_better(comparison.metric, row.spread.mean, comparison.rows[*best].spread.mean))
      best = i;
  }
  return students > 1 ? best : std::nullopt;
}

std::string rows_table(const Comparison& comparison) {
  const NumberForm form = form_of(comparison);
  std::string html = R"(<table class="sortable"><thead><tr><th>model</th><th class="w">role</th>
<th>parameters</th><th>seeds</th><th>mean</th><th>deviation</th><th>95&nbsp;% interval</th>
<th class="w">by seed</th></tr></thead><tbody>)";
  const auto best = best_student(comparison);
  for (std::size_t i = 0; i < comparison.rows.size(); ++i) {
    const auto& row = comparison.rows[i];
    html += fmt::format(
        R"(<tr{}><td>{}</td><td class="w">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>
<td class="w wrap">{}</td></tr>)",
        i == best ? " class=\"best\"" : "", escape_html(row.section), escape_html(role_text(row)),
        row.parameters ? number_html(*row.parameters, NumberForm::plain) : "", row.spread.count,
        number_html(row.spread.mean, form),
        row.spread.deviation ? number_html(*row.spread.deviation, form) : "",
        interval_text(row.spread, form, false), by_seed(row.values, form, false));
  }
  return html + "</tbody></table>";
}

/// The baseline of all differences; empty if they have several.
std::string common_baseline(const Comparison& comparison) {
  const auto& all = comparison.differences;
  const bool one = std::all_of(all.begin(), all.end(), [&](const auto& difference) {
    return difference.baseline == all.front().baseline;
  });
  return one && !all.empty() ? comparison.rows[all.front().baseline].section : "";
}

std::string name_of(const Comparison& comparison, const Difference& difference) {
  return comparison.rows[difference.row].section + " − " +
         comparison.rows[difference.baseline].section;
}

std::string differences_table(const Comparison& comparison) {
  const NumberForm form = form_of(comparison);
  std::string html = R"(<table><thead><tr><th>difference</th><th>pairs</th><th>mean</th>
<th>deviation</th><th>95&nbsp;% interval</th><th class="w">verdict</th><th class="w">by seed</th>
<th class="w">other options that differ</th></tr></thead><tbody>)";
  for (const auto& d : comparison.differences)
    html += fmt::format(
        R"(<tr><td class="wrap">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class="w">{}</td>
<td class="w wrap">{}</td><td class="w wrap">{}</td></tr>)",
        escape_html(name_of(comparison, d)), d.spread.count, signed_html(d.spread.mean, form),
        d.spread.deviation ? number_html(*d.spread.deviation, form) : "",
        interval_text(d.spread, form, true), verdict(comparison, d), by_seed(d.values, form, true),
        d.differing.empty() ? "none"
                            : escape_html(fmt::format("{}", fmt::join(d.differing, ", "))));
  return html + "</tbody></table>";
}

std::string charts(const Comparison& comparison) {
  IntervalChart rows{title_of(comparison),
                     comparison.metric == "top1" ? "%" : "nats",
                     form_of(comparison),
                     {},
                     {}};
  for (const auto& row : comparison.rows)
    rows.rows.push_back({row.section, colour_of(row.role), plain(row.values), row.spread});
  std::string svg = interval_chart_svg(rows);
  if (comparison.differences.empty()) return svg;
  const bool points = comparison.metric == "top1";
  const std::string baseline = common_baseline(comparison);
  IntervalChart differences{
      baseline.empty() ? "Differences, paired by seed"
                       : "Difference from " + baseline + ", paired by seed",
      points ? "per cent points (to the right: better)" : "nats (to the left: better)",
      form_of(comparison),
      0.0,
      {}};
  for (const auto& d : comparison.differences)
    differences.rows.push_back(
        {baseline.empty() ? name_of(comparison, d) : comparison.rows[d.row].section,
         colour_of(Role::learner), plain(d.values), d.spread});
  return svg + interval_chart_svg(differences);
}

std::string legend(const Comparison& comparison) {
  std::vector<LegendEntry> entries;
  for (const Role role : {Role::teacher, Role::hard, Role::learner})
    if (std::any_of(comparison.rows.begin(), comparison.rows.end(),
                    [&](const auto& row) { return row.role == role; }))
      entries.push_back({std::string(role_word(role)), colour_of(role), ""});
  return legend_html(entries);
}

}  // namespace

std::string comparisons_html(const std::vector<Comparison>& comparisons) {
  if (comparisons.empty()) return "";
  std::string html =
      R"(<section id="comparison"><h2>Teacher, hard labels, distilled</h2><p class="muted">Teachers,
then models on labels alone, then distilled ones, the best first in each; in bold the best of all but
the teachers. Bar: mean over seeds. Line: its 95&nbsp;% interval by
Student&rsquo;s t; an arrow where it goes on. Circles: single seeds. Beside them: mean &plusmn;
deviation over seeds.</p>)";
  for (const auto& comparison : comparisons) {
    html += fmt::format(
        "<h3>{} on {}</h3>{}<div class=\"pair\">{}</div><div class=\"wide\">{}</div>",
        comparison.metric == "top1" ? "Top-1" : "Cross entropy", escape_html(comparison.scored_on),
        legend(comparison), charts(comparison), rows_table(comparison));
    if (!comparison.differences.empty())
      html += "<div class=\"wide\">" + differences_table(comparison) + "</div>";
  }
  return html + "</section>";
}

std::string glance_html(const Report& report, const std::vector<Comparison>& comparisons) {
  constexpr std::size_t kMostModels = 4;
  std::string cards, head;
  const auto card = [&](const char* kind, const std::string& label, const std::string& figure,
                        const std::string& note) {
    cards += fmt::format(
        R"(<div class="card{}"><div class="label">{}</div><div class="figure">{}</div>
<div class="note">{}</div></div>)",
        kind, label, figure, note);
  };
  if (const Comparison* main = main_comparison(comparisons)) {
    const NumberForm form = form_of(*main);
    const Headline line = headline(*main);
    const auto distilled = std::count_if(main->rows.begin(), main->rows.end(),
                                         [](const auto& row) { return row.role == Role::learner; });
    for (std::size_t i = 0; i < std::min(kMostModels, line.order.size()); ++i) {
      const auto& row = main->rows[line.order[i]];
      const bool best = line.order[i] == line.best && distilled > 1;
      std::string note = best ? fmt::format("the best of {}", distilled) : "";
      if (row.parameters)
        note += (note.empty() ? "" : ", ") + number_html(*row.parameters, NumberForm::plain) +
                " parameters";
      card(best ? " best" : "", escape_html(role_text(row) + ": " + row.section),
           spread_html(row.spread, form) + (form == NumberForm::percent ? " %" : ""), note);
      for (const auto& d : main->differences)
        if (line.order[i] == line.best && d.row == line.best)
          card("", escape_html(name_of(*main, d)),
               signed_html(d.spread.mean, form) + (form == NumberForm::percent ? " points" : ""),
               d.spread.half_width
                   ? fmt::format("95&nbsp;% interval {}: {}", interval_text(d.spread, form, true),
                                 verdict(*main, d))
                   : verdict(*main, d));
    }
    head = fmt::format(
        R"(<p class="muted glance">{} on {}. &plusmn; on this page is always the deviation over seeds;
intervals are written &ldquo;low to high&rdquo;.</p>)",
        title_of(*main), escape_html(main->scored_on));
  }
  std::size_t complete = 0;
  double seconds = 0;
  bool seeds = false;
  for (const auto& section : report.sections) {
    complete += section.standing == SectionStanding::complete ? 1 : 0;
    seconds += section.seconds.value_or(0);
    seeds = seeds || !section.seed.empty();
  }
  card("", "sections complete", fmt::format("{} of {}", complete, report.sections.size()),
       (seeds ? "each seed counts" : "") + std::string(seeds && seconds > 0 ? ", " : "") +
           (seconds > 0 ? "computed in " + seconds_text(seconds) : ""));
  return "<div class=\"cards\">" + cards + "</div>" + head;
}

}  // namespace retort::pipeline
