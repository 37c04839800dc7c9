// The report's page as a whole: its parts in order, its style, its few lines of script.
#include <fmt/format.h>

#include "pipeline/html.h"
#include "pipeline/report_page.h"

namespace retort::pipeline {

namespace {

constexpr const char* kStyle = R"css(
:root{--ink:#1b222c;--soft:#56606e;--rule:#dde2e9;--pale:#f5f7fa;--link:#0060a0;--bad:#a83200;
--good:#00664b}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif;
color:var(--ink);background:#fff;margin:0 auto;max-width:80rem;padding:1.5rem 1.5rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:2.6rem 0 .6rem;border-bottom:2px solid var(--rule);
padding-bottom:.25rem}
h3{font-size:1.02rem;margin:1.5rem 0 .4rem}h4{font-size:.92rem;margin:1rem 0 .3rem}
h3 small,summary small{font-weight:400;color:var(--soft)}
a{color:var(--link)}p{margin:.4rem 0}.muted{color:var(--soft);font-size:.9rem}
small{color:var(--soft)}
nav{margin:.6rem 0 0;font-size:.92rem}nav a{margin-right:1rem;text-decoration:none}
nav a:hover{text-decoration:underline}
table{border-collapse:collapse;margin:.5rem 0;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.28rem .8rem .28rem 0;border-bottom:1px solid var(--rule);text-align:right;
vertical-align:top;white-space:nowrap}
th:first-child,td:first-child,th.w,td.w{text-align:left}td+td.w,th+th.w{padding-left:.4rem}
td.wrap,th.wrap{white-space:normal;min-width:11rem;max-width:22rem;overflow-wrap:break-word}
th{font-weight:600;color:var(--soft);vertical-align:bottom}tbody tr:hover{background:var(--pale)}
.wide{overflow-x:auto}.phases th,.phases td{padding-right:.55rem}.row>div:first-child{flex:1 1 36rem;max-width:50rem}.row>div{flex:0 1 26rem;min-width:0}
.row{display:flex;flex-wrap:wrap;gap:.5rem 3rem;align-items:flex-start}
.good{color:var(--good)}.bad{color:var(--bad);font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(11.5rem,1fr));gap:.8rem;
margin:1.4rem 0 0}
.card{border:1px solid var(--rule);border-top:3px solid var(--link);border-radius:3px;
padding:.55rem .8rem}
.card .label{color:var(--soft);font-size:.84rem;overflow-wrap:anywhere}.card .figure{
font-size:1.32rem;font-weight:600;font-variant-numeric:tabular-nums;white-space:nowrap}
.card .note{color:var(--soft);font-size:.84rem}
.card.best{border-top-color:var(--good);background:#f2f9f6}.glance{margin-top:.6rem}
tr.best td:first-child,tr.best td:nth-child(5){font-weight:700}
.notes{border-left:4px solid #e69f00;background:#fdf8ec;padding:.3rem 1rem;margin:1.4rem 0 0}
.notes h2{font-size:1rem;border:0;margin:.2rem 0}
.notes ul{margin:.2rem 0 .4rem;padding-left:1.2rem}.notes li{overflow-wrap:anywhere}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(19rem,1fr));gap:.6rem 1.4rem;
max-width:78rem}
.charts svg{display:block;width:100%;max-width:400px}.charts p{max-width:400px;overflow-wrap:anywhere}
svg{font:11px system-ui,"Noto Sans","DejaVu Sans",sans-serif;fill:#465060;max-width:100%;
height:auto;overflow:visible}
.wide>svg{display:block;margin:.4rem 0;width:41rem}
.pair{display:flex;flex-wrap:wrap;gap:.4rem 1.5rem;margin:.5rem 0;align-items:flex-start}
.pair svg{flex:0 1 600px;min-width:min(100%,22rem)}
svg .t{font-size:13px;font-weight:600;fill:#1b222c}svg .n{font-size:12.5px;fill:#1b222c}
svg .g{stroke:#e3e7ed;stroke-width:1}svg .a{stroke:#8a94a3;stroke-width:1}
svg .z{stroke:#1b222c;stroke-width:1.2;stroke-dasharray:4 3}
svg .l{fill:none;stroke-width:1.8;stroke-linejoin:round}
svg .l.f{stroke-width:1;stroke-opacity:.42}svg .l.b{stroke-width:2.4}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.3rem;padding:0;margin:.4rem 0;
font-size:.9rem}.legend svg{vertical-align:middle}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--link);font-weight:600}
pre{background:var(--pale);padding:.7rem .9rem;overflow:auto;font-size:12.5px;line-height:1.4;
margin:.4rem 0}code{font-size:.9em}
.classes td{vertical-align:middle}
.classes img,.likeness img{image-rendering:pixelated;background:#eee}
.name{font-weight:600;white-space:normal;max-width:14rem;overflow-wrap:break-word}
.name.short{white-space:nowrap}
.bar{width:5rem;height:5px;background:var(--rule);margin:.15rem 0 0 auto}
.bar i{display:block;height:5px;background:#7b8794}
.mistakes{display:flex;flex-wrap:wrap;gap:.4rem 1rem}figure{margin:0;display:grid;
grid-template-columns:auto auto;align-items:center;gap:0 .4rem;white-space:normal}
figure figcaption{grid-column:1/3;font-size:.86rem;order:3;max-width:9rem;overflow-wrap:anywhere}
.likeness{opacity:.8}td .likeness{display:inline-block;vertical-align:middle;min-width:28px}
.likeness img{width:auto;max-height:28px;max-width:28px}
figure.text{display:block;flex:1 1 100%;border-left:3px solid var(--rule);padding-left:.6rem}
figure.text figcaption{display:inline;margin-left:.6rem}
.texts td{vertical-align:top}q{overflow-wrap:anywhere}
th[aria-sort],.js .sortable th{cursor:pointer}.js .sortable th:hover{color:var(--ink)}
footer{margin-top:3rem;color:var(--soft);font-size:.86rem;border-top:1px solid var(--rule);
padding-top:.6rem}
@media (max-width:40rem){body{padding:1rem .9rem 3rem;font-size:14px}
.cards{grid-template-columns:repeat(auto-fill,minmax(10rem,1fr))}.name.short{white-space:normal}
.pair{display:block;overflow-x:auto}.pair svg,.wide>svg{width:36rem;max-width:none}
.pair svg{display:block}}
@media print{body{max-width:none;padding:0;font-size:10.5pt}nav{display:none}
h2,h3{break-after:avoid}svg,tr,.card,figure{break-inside:avoid}
.wide{overflow:visible}.pair svg{max-width:48%}.charts{grid-template-columns:repeat(3,1fr)}
.wide>svg{width:34rem;max-width:100%}p.muted{break-after:avoid}
section>p.muted:last-child{break-after:auto}pre{white-space:pre-wrap}table{font-size:8.5pt}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
)css";

// Sorts a table by the column whose heading is clicked; unfolds the samples for the printer.
constexpr const char* kScript = R"js(
document.body.classList.add('js');
const valueAt = at => row => {
  const cell = row.cells[at];
  const text = cell.dataset.value ?? cell.textContent.replace(/[\s\u202f]/g, '').replace('\u2212', '-');
  const number = parseFloat(text);
  return isNaN(number) ? text : number;
};
const names = new Intl.Collator('en', {numeric: true});
const compare = (x, y) => typeof x !== typeof y ? (typeof x === 'number' ? -1 : 1) :
  typeof x === 'number' ? x - y : names.compare(x, y);
for (const head of document.querySelectorAll('.sortable th')) head.addEventListener('click', () => {
  const row = head.parentNode, body = head.closest('table').tBodies[0];
  const down = head.getAttribute('aria-sort') === 'ascending';
  for (const other of row.children) other.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const value = valueAt([...row.children].indexOf(head));
  [...body.rows].sort((a, b) => (down ? -1 : 1) * compare(value(a), value(b)))
    .forEach(sorted => body.append(sorted));
});
addEventListener('beforeprint', () =>
  document.querySelectorAll('details:not(.raw)').forEach(part => { part.open = true; }));
)js";

constexpr const char* kHow =
    R"html(<section id="method"><h2>How the numbers are made</h2> <p class="muted">&plusmn;: the deviation
over seeds, of the sample, divisor n&nbsp;&minus;&nbsp;1, in tables, cards and charts. Interval:
t &times; deviation / &radic;n to both sides of the mean, with the 97.5&nbsp;% quantile of
Student&rsquo;s t of n&nbsp;&minus;&nbsp;1 degrees of freedom; it holds for normally distributed values, and speaks of other seeds of the same data, not of other data.
Differences are taken seed by seed before they are averaged. &ldquo;Better&rdquo; and
&ldquo;worse&rdquo; mean that the interval leaves out 0; among many comparisons one in twenty does
so by chance. A distilled section is compared with the hard-label one whose options differ least;
those that do are named. On top stand the best teacher, the best distilled model and what it is compared
with; the best of several looks a little better than it is, because these scores chose it.
Recall of a class: right answers among its samples. Hashes:
<em>content</em> is the digest of a section&rsquo;s result, equal on any number of ranks;
<em>recipe</em> that of its options and inputs.</p></section>)html";

struct Link {
  const char* id;
  const char* name;
};

std::string navigation(const std::string& page) {
  std::string links;
  for (const auto& [id, name] :
       {Link{"comparison", "Comparison"}, Link{"results", "Results"}, Link{"training", "Training"},
        Link{"classes", "Worst classes"}, Link{"labels", "Similar classes"}, Link{"time", "Time"},
        Link{"sections", "Sections"}, Link{"environment", "Environment"}, Link{"method", "Method"}})
    if (page.find(fmt::format("<section id=\"{}\"", id)) != std::string::npos)
      links += fmt::format("<a href=\"#{}\">{}</a>", id, name);
  return "<nav>" + links + "</nav>";
}

}  // namespace

std::string report_html(const Report& report) {
  const auto comparisons = compare(report);
  const std::string page = comparisons_html(comparisons) + results_html(report) +
                           training_html(report) + classes_html(report, comparisons) +
                           labels_html(report) + time_html(report) + sections_html(report) +
                           environment_html(report) + kHow;
  const std::string title = escape_html(report.title);
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" + title +
         " &ndash; Retort report</title><meta name=\"viewport\" "
         "content=\"width=device-width,initial-scale=1\"><link rel=\"icon\" "
         "href=\"data:,\"><style>" +
         kStyle + "</style></head><body><header><h1>" + title + "</h1>" + navigation(page) +
         "</header>" + glance_html(report, comparisons) + notes_html(report) + page +
         "<footer>Written by <code>retort report</code>. Classes, texts and pictures are those of "
         "the data set.</footer>\n<script>" +
         kScript + "</script>\n</body></html>\n";
}

nlohmann::ordered_json report_json(const Report& report) {
  using Json = nlohmann::ordered_json;
  Json json = {
      {"sections", Json::array()}, {"summary", Json::array()}, {"comparisons", Json::array()}};
  for (const auto& section : report.sections) {
    Json row = {{"name", section.name},
                {"stage", section.stage},
                {"state", standing_word(section.standing)}};
    if (section.seconds) row["seconds"] = *section.seconds;
    if (section.step) row["step"] = *section.step;
    if (!section.failure.empty()) row["failure"] = section.failure;
    if (!section.content_digest.empty()) row["content_digest"] = section.content_digest;
    json["sections"].push_back(std::move(row));
  }
  for (const auto& summary : summaries_of(report)) {
    Json row = {{"section", summary.section},
                {"metric", summary.metric},
                {"mean", summary.mean},
                {"seeds", summary.count}};
    if (summary.deviation) row["deviation"] = *summary.deviation;
    if (summary.half_width)
      row["interval"] = {summary.mean - *summary.half_width, summary.mean + *summary.half_width};
    json["summary"].push_back(std::move(row));
  }
  for (const auto& comparison : compare(report)) json["comparisons"].push_back(to_json(comparison));
  return json;
}

}  // namespace retort::pipeline
