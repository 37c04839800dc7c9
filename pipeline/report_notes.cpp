// The page's notes: what a reader should know before the numbers, each thing said once.
#include <algorithm>
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "pipeline/html.h"
#include "pipeline/report_page.h"

namespace retort::pipeline {
namespace {

bool goes_on(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
}

/// A message with "@section" for the path of a section's folder, so that what is said of every seed
/// is one and the same.
std::string portable_message(const Report& report, std::string text) {
  std::vector<std::pair<std::string, std::string>> names;
  for (const auto& section : report.sections)
    if (auto path = section.option("out"); path.find('/') != std::string::npos)
      names.emplace_back(std::move(path), "@" + section.group);
  std::sort(names.begin(), names.end(),
            [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  for (const auto& [path, name] : names)
    for (std::size_t at = 0; (at = text.find(path, at)) != std::string::npos;) {
      const std::size_t end = at + path.size();
      const bool whole = (at == 0 || (!goes_on(text[at - 1]) && text[at - 1] != '/')) &&
                         (end == text.size() || !goes_on(text[end]));
      if (whole) text.replace(at, path.size(), name);
      at += whole ? name.size() : 1;
    }
  return text;
}

/// What is said of sections: each statement once, in the order of first appearance.
class Statements {
 public:
  explicit Statements(const Report& report) : report_(report) {}

  /// `one`, `many`: how the sentence goes on after one section's name, or after "3 sections".
  void add(const ReportSection& section, const std::string& one, const std::string& many) {
    auto found =
        std::find_if(all_.begin(), all_.end(), [&](const auto& s) { return s.one == one; });
    if (found == all_.end()) found = all_.insert(all_.end(), {one, many, {}});
    if (found->sections.empty() || found->sections.back() != &section)
      found->sections.push_back(&section);
  }

  std::string html() const {
    std::string items;
    for (const auto& [one, many, sections] : all_)
      items += sections.size() == 1
                   ? fmt::format("<li>{}{}</li>", escape_html(sections.front()->name), one)
                   : fmt::format("<li>{} sections{} <small>({})</small></li>", sections.size(),
                                 many, escape_html(names(sections)));
    return items;
  }

 private:
  struct Statement {
    std::string one, many;
    std::vector<const ReportSection*> sections;
  };

  /// "a, b/seed-2": a section by its name where all of its seeds are meant.
  std::string names(const std::vector<const ReportSection*>& sections) const {
    std::vector<std::string> list;
    for (const auto& group : report_.groups()) {
      std::vector<std::string> own;
      for (const auto* section : sections)
        if (section->group == group) own.push_back(section->name);
      if (own.size() > 1 && own.size() == report_.members(group).size()) own = {group};
      list.insert(list.end(), own.begin(), own.end());
    }
    return fmt::format("{}", fmt::join(list, ", "));
  }

  const Report& report_;
  std::vector<Statement> all_;
};

void add_state(Statements& statements, const Report& report, const ReportSection& section) {
  if (section.standing == SectionStanding::complete) return;
  if (section.standing == SectionStanding::failed) {
    const std::string text = fmt::format(" <span class=\"bad\">failed</span>: {}",
                                         escape_html(portable_message(report, section.failure)));
    statements.add(section, text, text);
    return;
  }
  const std::string text =
      fmt::format("{}{}", standing_word(section.standing),
                  section.step ? fmt::format(" (step {})", *section.step) : "");
  statements.add(section, " is " + text, " are " + text);
}

}  // namespace

std::string notes_html(const Report& report) {
  Statements statements(report);
  for (const auto& section : report.sections) {
    add_state(statements, report, section);
    std::vector<std::string> lost;
    for (const auto& [name, value] : section.results.items())
      if (value.is_null()) lost.push_back(name);
    if (!lost.empty()) {
      const std::string text =
          ": not a finite number: " + escape_html(fmt::format("{}", fmt::join(lost, ", ")));
      statements.add(section, text, text);
    }
    const auto found = section.results.find("warnings");
    if (found == section.results.end() || !found->is_array()) continue;
    for (const auto& warning : *found) {
      if (!warning.is_string()) continue;
      const std::string text =
          ": " + escape_html(portable_message(report, warning.get<std::string>()));
      statements.add(section, text, text);
    }
  }
  std::string items = statements.html();
  for (const auto& note : report.notes) items += "<li>" + escape_html(note) + "</li>";
  if (items.empty()) return "";
  return "<aside class=\"notes\"><h2>Notes</h2><ul>" + items + "</ul></aside>";
}

}  // namespace retort::pipeline
