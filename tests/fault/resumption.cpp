#include "tests/fault/resumption.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace retort::fault {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) entries.push_back(entry.path());
  return entries;
}

// gen-SSSSSSSSSS-eEEEE; what was set aside has a suffix.
bool is_generation(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.starts_with("gen-") && name.find('.') == std::string::npos &&
         fs::exists(path / "manifest.json");
}

std::optional<std::uint64_t> number_in(std::string_view text) {
  std::uint64_t number = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), number);
  return result.ec == std::errc() ? std::optional(number) : std::nullopt;
}

std::uint64_t step_of(std::string_view generation) {
  return number_in(generation.substr(4)).value_or(0);
}

/// The first line with `words`; empty if there is none.
std::string line_with(const std::string& output, const std::string& words) {
  std::istringstream stream(output);
  for (std::string line; std::getline(stream, line);)
    if (line.find(words) != std::string::npos) return line;
  return {};
}

std::optional<std::uint64_t> step_said(const std::string& output, const std::string& section) {
  const std::string words = fmt::format("/{}: resuming at step ", section);
  const std::string line = line_with(output, words);
  if (line.empty()) return std::nullopt;
  return number_in(std::string_view(line).substr(line.find(words) + words.size()));
}

// "retort: K of N shards were complete already"
std::uint64_t shards_said(const std::string& output) {
  const std::string line = line_with(output, " shards were complete already");
  const auto colon = line.find(": ");
  if (colon == std::string::npos) return 0;
  return number_in(std::string_view(line).substr(colon + 2)).value_or(0);
}

SectionState state_of_section(const fs::path& folder) {
  SectionState state;
  state.name = folder.filename().string();
  state.folder = folder;
  state.finished = fs::exists(folder / "manifest.json");
  for (const fs::path& path : entries_of(folder / "checkpoints"))
    if (is_generation(path))
      state.newest_generation = std::max(state.newest_generation, path.filename().string());
  for (const fs::path& path : entries_of(folder / "claims"))
    if (path.filename().string().starts_with("epoch-"))
      state.claims.emplace(path.filename().string(), fs::last_write_time(path));
  for (const fs::path& pass : entries_of(folder / "members"))
    for (const fs::path& record : entries_of(pass)) {
      const std::string name = record.filename().string();
      if (name.starts_with("shard-") && record.extension() == ".json") ++state.shards;
    }
  return state;
}

/// What the one claim that was made since names; nothing: no claim was made. Empty: it began anew.
std::optional<std::string> generation_claimed(const SectionState& before) {
  const SectionState after = state_of_section(before.folder);
  for (const auto& claim : after.claims) {
    if (before.claims.contains(claim)) continue;
    std::ifstream file(before.folder / "claims" / claim.first);
    const nlohmann::json from = nlohmann::json::parse(file).at("resumes_from");
    return from.is_null() ? std::string() : from.get<std::string>();
  }
  return std::nullopt;
}

void judge_training(const SectionState& before, const Ending& ending, Resumption& judged) {
  const std::uint64_t step = step_of(before.newest_generation);
  const auto claimed = generation_claimed(before);
  const auto said = step_said(ending.output, before.name);
  const bool silent_end = ending.exit_code == 0 && !before.finished && !said;
  if ((claimed && *claimed != before.newest_generation) || (said && *said != step) || silent_end)
    judged.restarted += fmt::format("{}: there was {}, the claim names {}, and it said {}; ",
                                    before.name, before.newest_generation,
                                    claimed ? (claimed->empty() ? "none" : *claimed) : "(no claim)",
                                    said ? fmt::format("step {}", *said) : "no step");
  else if (claimed && said && step > 0)
    ++judged.sections;
}

void judge_capture(const SectionState& before, const Ending& ending, Resumption& judged) {
  if (before.finished) return;
  const std::uint64_t said = shards_said(ending.output);
  const bool judgeable = said > 0 || ending.exit_code == 0;
  if (judgeable && said < static_cast<std::uint64_t>(before.shards))
    judged.restarted +=
        fmt::format("{}: {} shards were complete, {} adopted; ", before.name, before.shards, said);
  else if (judgeable)
    ++judged.sections;
}

}  // namespace

std::vector<SectionState> state_of_run(const fs::path& run) {
  std::vector<SectionState> states;
  for (const char* section : {"teacher", "logits", "student", "draws", "mixed"})
    states.push_back(state_of_section(run / section));
  return states;
}

Resumption judge_resumption(const std::vector<SectionState>& before, const Ending& ending) {
  Resumption judged;
  for (const SectionState& section : before) {
    if (!section.newest_generation.empty()) judge_training(section, ending, judged);
    if (section.shards > 0) judge_capture(section, ending, judged);
  }
  return judged;
}

}  // namespace retort::fault
