#include "pipeline/plan.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ini.h"
#include "core/options.h"

namespace retort::pipeline {
namespace {

using core::UsageError;

constexpr std::size_t kMostSeeds = 1000;
constexpr std::string_view kWordLetters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";

bool is_section_name(std::string_view name) {
  return !name.empty() && name.front() != '-' &&
         name.find_first_not_of(kWordLetters) == std::string_view::npos;
}

std::string_view trimmed(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::string quoted_list(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, ", "));
}

/// An entry of the file or of --set, with where it came from.
struct Setting {
  std::string key;
  std::string value;
  std::string origin;
};
struct RawSection {
  std::string name;
  std::string origin;
  std::vector<Setting> settings;
};

std::vector<RawSection> raw_sections(std::string_view text, const std::string& where) {
  std::vector<RawSection> sections;
  for (const auto& section : core::parse_ini(text, where)) {
    const auto at = [&where](int line) { return fmt::format("{}:{}", where, line); };
    if (section.name.empty()) {
      if (section.entries.empty()) continue;
      throw UsageError(fmt::format("{}: key '{}' stands before the first [section]",
                                   at(section.entries[0].line), section.entries[0].key));
    }
    auto& raw = sections.emplace_back(RawSection{section.name, at(section.line), {}});
    for (const auto& entry : section.entries) {
      for (const auto& other : raw.settings)
        if (other.key == entry.key)
          throw UsageError(fmt::format("{}: [{}]: key '{}' was set at {} already; keep one",
                                       at(entry.line), section.name, entry.key, other.origin));
      raw.settings.push_back({entry.key, entry.value, at(entry.line)});
    }
  }
  return sections;
}

void apply_override(std::vector<RawSection>& sections, const std::string& text) {
  const auto equals = text.find('=');
  const auto dot = text.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals || dot == 0 ||
      dot + 1 == equals)
    throw UsageError(
        fmt::format("--set '{}': write SECTION.KEY=VALUE, as in --set teacher.steps=100", text));
  const std::string name{trimmed(std::string_view(text).substr(0, dot))};
  const std::string key{trimmed(std::string_view(text).substr(dot + 1, equals - dot - 1))};
  const std::string value{trimmed(std::string_view(text).substr(equals + 1))};
  const std::string origin = fmt::format("--set {}.{}", name, key);
  auto section = std::find_if(sections.begin(), sections.end(),
                              [&](const RawSection& s) { return s.name == name; });
  if (section == sections.end() && name == "plan")
    section = sections.insert(sections.end(), RawSection{"plan", origin, {}});
  if (section == sections.end()) {
    std::vector<std::string> known;
    known.reserve(sections.size());
    for (const auto& s : sections) known.push_back(s.name);
    const auto nearest = core::nearest_word(name, known);
    throw UsageError(fmt::format(
        "{}: the plan has no section [{}]; {}", origin, name,
        nearest.empty() ? "it has " + quoted_list(known) : "did you mean [" + nearest + "]?"));
  }
  for (auto& setting : section->settings) {
    if (setting.key != key) continue;
    setting.value = value;
    setting.origin = origin;
    return;
  }
  section->settings.push_back({key, value, origin});
}

RawSection* find_section(std::vector<RawSection>& sections, std::string_view name) {
  for (auto& section : sections)
    if (section.name == name) return &section;
  return nullptr;
}

/// `like = OTHER`: settings of the other section that this one does not set itself. Follows chains;
/// `chain` holds the names on the way here.
void inherit(std::vector<RawSection>& sections, RawSection& section,
             std::vector<std::string> chain) {
  const auto like = std::find_if(section.settings.begin(), section.settings.end(),
                                 [](const Setting& setting) { return setting.key == "like"; });
  if (like == section.settings.end()) return;
  const Setting wanted = *like;
  section.settings.erase(like);
  RawSection* other = wanted.value == "plan" ? nullptr : find_section(sections, wanted.value);
  if (other == nullptr) {
    std::vector<std::string> known;
    for (const auto& each : sections)
      if (each.name != "plan" && each.name != section.name) known.push_back(each.name);
    const auto nearest = core::nearest_word(wanted.value, known);
    throw UsageError(fmt::format(
        "{}: [{}]: like = '{}' is no section of this plan; {}", wanted.origin, section.name,
        wanted.value,
        nearest.empty() ? "it has " + quoted_list(known) : "did you mean " + nearest + "?"));
  }
  chain.push_back(section.name);
  if (std::find(chain.begin(), chain.end(), other->name) != chain.end())
    throw UsageError(fmt::format("{}: [{}]: like = {} goes round in a circle ({}); leave one out",
                                 wanted.origin, section.name, wanted.value,
                                 fmt::join(chain, ", ")));
  inherit(sections, *other, chain);
  std::vector<Setting> inherited;
  for (const auto& setting : other->settings)
    if (std::none_of(section.settings.begin(), section.settings.end(),
                     [&](const Setting& own) { return own.key == setting.key; }))
      inherited.push_back(setting);
  section.settings.insert(section.settings.begin(), inherited.begin(), inherited.end());
}

/// ${NAME} becomes the variable's value, $$ one $.
std::string expanded(const Setting& setting, const Environment& environment) {
  std::string result;
  const std::string& text = setting.value;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool plain = text[i] != '$' || i + 1 == text.size();
    if (plain || text[i + 1] == '$') {
      result += text[i];
      if (!plain) ++i;
    } else if (text[i + 1] == '{') {
      const auto end = text.find('}', i);
      if (end == std::string::npos)
        throw UsageError(fmt::format("{}: {} = '{}' lacks the }} of ${{NAME}} (write $$ for a $)",
                                     setting.origin, setting.key, text));
      const auto name = text.substr(i + 2, end - i - 2);
      const auto value = environment(name);
      if (!value)
        throw UsageError(fmt::format(
            "{}: {} = '{}' needs the environment variable {}, which is not set; export it, or "
            "write a path (write $$ for a $)",
            setting.origin, setting.key, text, name.empty() ? "''" : name));
      result += *value;
      i = end;
    } else {
      result += text[i];
    }
  }
  return result;
}

PlanSettings plan_settings(const RawSection& raw, const Environment& environment) {
  PlanSettings settings;
  core::OptionTable table;
  table.add("name", &settings.name, "name of the plan");
  table.add("threads", &settings.threads, "workers of each rank");
  for (const auto& setting : raw.settings) {
    try {
      table.set(setting.key, expanded(setting, environment));
    } catch (const UsageError& error) {
      throw UsageError(fmt::format("{}: [plan]: {}", setting.origin, error.what()));
    }
    if (setting.key == "threads" && settings.threads < 1)
      throw UsageError(fmt::format("{}: [plan]: threads must be at least 1", setting.origin));
    if (setting.key == "name" && !is_section_name(settings.name))
      throw UsageError(
          fmt::format("{}: [plan]: name '{}' names the run folder; use letters, digits, - and _",
                      setting.origin, settings.name));
  }
  return settings;
}

PlanSection plan_section(const RawSection& raw, const Environment& environment) {
  if (!is_section_name(raw.name))
    throw UsageError(
        fmt::format("{}: section name '{}' names a folder; use letters, digits, - and _",
                    raw.origin, raw.name));
  PlanSection section;
  section.name = raw.name;
  section.origin = raw.origin;
  for (const auto& setting : raw.settings) {
    const auto value = expanded(setting, environment);
    if (setting.key == "stage") {
      section.stage = value;
      section.origin = setting.origin;
    } else if (setting.key == "seeds") {
      try {
        section.seeds = parse_seeds(value);
      } catch (const UsageError& error) {
        throw UsageError(fmt::format("{}: [{}]: {}", setting.origin, raw.name, error.what()));
      }
    } else if (setting.key == "out") {
      throw UsageError(fmt::format(
          "{}: [{}]: the plan decides where a section writes; remove 'out' (use run --out RUN, and "
          "@{} for this section's folder)",
          setting.origin, raw.name, raw.name));
    } else {
      section.options.push_back({setting.key, value, setting.origin});
    }
  }
  if (section.stage.empty())
    throw UsageError(fmt::format(
        "{}: section [{}] names no stage; add a line such as stage = train", raw.origin, raw.name));
  return section;
}

std::uint64_t parse_seed(std::string_view text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size())
    throw UsageError(
        fmt::format("seeds: '{}' is no whole number; write seeds = 1..3 or seeds = 1,2,5", text));
  return seed;
}

}  // namespace

const PlanSection* Plan::find(std::string_view name) const {
  for (const auto& section : sections)
    if (section.name == name) return &section;
  return nullptr;
}

Plan parse_plan(std::string_view text, const std::string& where,
                std::span<const std::string> overrides, const Environment& environment) {
  auto raw = raw_sections(text, where);
  for (const auto& override_text : overrides) apply_override(raw, override_text);
  for (auto& section : raw)
    if (section.name != "plan") inherit(raw, section, {});
  Plan plan;
  plan.where = where;
  for (const auto& section : raw) {
    if (section.name == "plan") {
      plan.settings = plan_settings(section, environment);
    } else {
      plan.sections.push_back(plan_section(section, environment));
    }
  }
  if (plan.sections.empty())
    throw UsageError(fmt::format(
        "{}: the plan is empty; add a section such as [data] with stage = pack", where));
  return plan;
}

std::vector<std::string> environment_names(std::string_view text) {
  std::set<std::string> names;
  for (std::size_t at = text.find("${"); at != std::string_view::npos; at = text.find("${", at)) {
    at += 2;
    const auto end = text.find_first_of("}\n", at);
    if (end != std::string_view::npos && text[end] == '}')
      names.insert(std::string(text.substr(at, end - at)));
  }
  return {names.begin(), names.end()};
}

std::vector<std::uint64_t> parse_seeds(std::string_view text) {
  std::vector<std::uint64_t> seeds;
  const auto add = [&seeds](std::uint64_t seed) {
    if (std::find(seeds.begin(), seeds.end(), seed) != seeds.end())
      throw UsageError(fmt::format("seeds: {} is listed twice", seed));
    if (seeds.size() == kMostSeeds)
      throw UsageError(fmt::format("seeds: more than {} seeds", kMostSeeds));
    seeds.push_back(seed);
  };
  while (true) {
    const auto comma = text.find(',');
    const auto part = trimmed(text.substr(0, comma));
    if (const auto dots = part.find(".."); dots != std::string_view::npos) {
      const auto first = parse_seed(trimmed(part.substr(0, dots)));
      const auto last = parse_seed(trimmed(part.substr(dots + 2)));
      if (last < first)
        throw UsageError(
            fmt::format("seeds: {}..{} is empty; the smaller comes first", first, last));
      for (auto seed = first;; ++seed) {
        add(seed);
        if (seed == last) break;
      }
    } else {
      add(parse_seed(part));
    }
    if (comma == std::string_view::npos) return seeds;
    text.remove_prefix(comma + 1);
  }
}

std::vector<ValuePiece> value_pieces(std::string_view value) {
  std::vector<ValuePiece> pieces;
  while (true) {
    const auto comma = value.find(',');
    auto part = value.substr(0, comma);
    if (const auto start = trimmed(part); start.substr(0, 2) == "@@") {
      pieces.push_back({std::nullopt, std::string(start.substr(1))});
    } else if (start.substr(0, 1) == "@") {
      const auto word = start.substr(1);
      const auto end = std::min(word.find_first_not_of(kWordLetters), word.size());
      pieces.push_back({std::string(word.substr(0, end)), std::string(word.substr(end))});
    } else {
      pieces.push_back({std::nullopt, std::string(part)});
    }
    if (comma == std::string_view::npos) return pieces;
    value.remove_prefix(comma + 1);
  }
}

}  // namespace retort::pipeline
