#include "launch/option_sources.h"

#include <algorithm>
#include <array>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ini.h"

namespace retort::launch {
namespace {

constexpr std::string_view kPrefix = "RETORT_";

bool among(std::span<const core::OptionTable* const> tables, std::string_view name) {
  return std::any_of(tables.begin(), tables.end(),
                     [&](const auto* table) { return table->find(name) != nullptr; });
}

std::string option_name(std::string_view variable) {
  std::string name(variable.substr(kPrefix.size()));
  for (char& c : name) c = c == '_' ? '-' : static_cast<char>(std::tolower(c));
  return name;
}

}  // namespace

std::string environment_name(std::string_view option) {
  std::string name(kPrefix);
  for (const char c : option)
    name.push_back(c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c))));
  return name;
}

bool reserved_variable(std::string_view name) {
  constexpr std::array kNames = {"RETORT_DATA",         "RETORT_SOURCE",       "RETORT_ROOT",
                                 "RETORT_EVENT_FOLDER", "RETORT_KILLS",        "RETORT_NVCC",
                                 "RETORT_SKIP_SETUP",   "RETORT_TIDY_SECONDS", "RETORT_PEERS",
                                 "RETORT_TESTCLUSTER"};
  constexpr std::array kPrefixes = {"RETORT_FAULT_", "RETORT_LOCAL_", "RETORT_TEST_",
                                    "RETORT_BENCH_"};
  constexpr std::array kSuffixes = {"_ENV", "_GOLDEN"};
  const auto is = [&](auto word) { return name == word; };
  const auto begins = [&](auto word) { return name.starts_with(word); };
  const auto ends = [&](auto word) { return name.ends_with(word); };
  return std::any_of(kNames.begin(), kNames.end(), is) ||
         std::any_of(kPrefixes.begin(), kPrefixes.end(), begins) ||
         std::any_of(kSuffixes.begin(), kSuffixes.end(), ends);
}

EnvironmentOptions environment_options(std::span<const std::string> entries,
                                       std::span<const core::OptionTable* const> tables,
                                       std::span<const std::string> all_names) {
  EnvironmentOptions found;
  for (const auto& entry : entries) {
    const auto equals = entry.find('=');
    const std::string variable = entry.substr(0, equals);
    if (equals == std::string::npos || !variable.starts_with(kPrefix) ||
        reserved_variable(variable))
      continue;
    const std::string name = option_name(variable);
    const bool exact = environment_name(name) == variable;  // RETORT_alpha is no option
    if (exact && among(tables, name)) {
      found.given.push_back({name, entry.substr(equals + 1), variable});
    } else if (exact && std::find(all_names.begin(), all_names.end(), name) != all_names.end()) {
      found.ignored.push_back(variable);
    } else {
      std::vector<std::string> known(all_names.begin(), all_names.end());
      for (const auto* table : tables)
        for (const auto& option : table->options()) known.push_back(option.name);
      const std::string near = core::nearest_word(name, known);
      throw core::UsageError(fmt::format(
          "environment variable {} is no option; {}", variable,
          near.empty() ? "unset it"
                       : fmt::format("did you mean {}? Else unset it", environment_name(near))));
    }
  }
  // environ has no order worth keeping; messages should not depend on it.
  std::sort(found.ignored.begin(), found.ignored.end());
  std::sort(found.given.begin(), found.given.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return found;
}

std::vector<stages::GivenOption> ini_options(std::string_view text, const std::string& file,
                                             std::string_view command,
                                             const std::vector<std::string>& commands) {
  std::vector<stages::GivenOption> general;
  std::vector<stages::GivenOption> own;
  for (const auto& section : core::parse_ini(text, file)) {
    if (!section.name.empty() &&
        std::find(commands.begin(), commands.end(), section.name) == commands.end()) {
      const std::string near = core::nearest_word(section.name, commands);
      throw core::UsageError(fmt::format(
          "{}:{}: section [{}] is no command{}", file, section.line, section.name,
          near.empty() ? "; retort --help lists them" : fmt::format("; did you mean [{}]?", near)));
    }
    if (!section.name.empty() && section.name != command) continue;
    auto& list = section.name.empty() ? general : own;
    for (const auto& entry : section.entries)
      list.push_back({entry.key, entry.value, fmt::format("{}:{}", file, entry.line)});
  }
  const std::vector<std::vector<stages::GivenOption>> sources = {std::move(general),
                                                                 std::move(own)};
  return merge_sources(sources);
}

std::vector<stages::GivenOption> merge_sources(
    std::span<const std::vector<stages::GivenOption>> sources) {
  std::map<std::string, std::size_t> last;
  for (std::size_t i = 0; i < sources.size(); ++i)
    for (const auto& option : sources[i]) last[option.name] = i;
  std::vector<stages::GivenOption> merged;
  for (std::size_t i = 0; i < sources.size(); ++i)
    for (const auto& option : sources[i])
      if (last[option.name] == i) merged.push_back(option);
  return merged;
}

}  // namespace retort::launch
