#include "pipeline/cleaning.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/checkpoint.h"
#include "io/generation.h"
#include "io/manifest.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

std::uint64_t bytes_below(const fs::path& path) {
  std::error_code code;
  if (!fs::is_directory(fs::symlink_status(path, code))) {
    const auto size = fs::file_size(path, code);
    return code ? 0 : size;
  }
  std::uint64_t sum = 0;
  for (auto entry = fs::recursive_directory_iterator(path, code);
       !code && entry != fs::recursive_directory_iterator(); entry.increment(code)) {
    std::error_code gone;
    const auto size = entry->is_regular_file(gone) ? entry->file_size(gone) : 0;
    if (!gone) sum += size;
  }
  return sum;
}

std::optional<io::StoredCheckpoint> verified(const fs::path& generation) {
  try {
    return io::open_generation(generation);
  } catch (const core::DataError&) {
    return std::nullopt;
  }
}

/// The step of the best evaluation so far, as the state of a training tells it.
std::optional<std::uint64_t> best_step(const nlohmann::json& state) {
  try {
    const auto best = state.at("best").get<std::int64_t>();
    if (best < 0) return std::nullopt;
    return state.at("history").at(static_cast<std::size_t>(best)).at("step").get<std::uint64_t>();
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;  // no evaluation, or no training
  }
}

/// Sections into whose checkpoints another section's options reach.
std::vector<char> referred_checkpoints(const Plan& plan) {
  std::vector<char> referred(plan.sections.size(), 0);
  for (const auto& section : plan.sections)
    for (const auto& option : section.options)
      for (const auto& piece : value_pieces(option.text))
        for (std::size_t i = 0; i < plan.sections.size(); ++i)
          if (piece.section == plan.sections[i].name &&
              piece.text.find("/checkpoints") != std::string::npos)
            referred[i] = 1;
  return referred;
}

class Search {
 public:
  std::vector<Removal> found;

  void add(const fs::path& path, const std::string& why) {
    found.push_back({path, why, bytes_below(path)});
  }

  void generations(const fs::path& section, std::uint64_t keep, BestGeneration best) {
    if (io::has_mixed_recipes(section)) return;  // `retort check` says so; nothing is taken from it
    const auto contents = io::list_run(section, io::recipe_of_run(section));
    const auto folder = io::generations_folder(section);
    for (const auto& name : contents.leftovers)
      add(folder / name, "left by a start that was killed");
    const bool done = io::has_manifest(section);
    const std::uint64_t wanted = done ? keep : std::max(keep, kKeptToResume);
    std::uint64_t kept = 0;
    bool looked = best == BestGeneration::as_others;
    std::optional<std::uint64_t> best_one = std::nullopt;
    for (const auto& entry : io::chain_of(contents)) {
      if (entry.set_aside) continue;  // found below, by its name
      const auto path = folder / io::name_of(entry.id);
      const bool newest = kept < wanted;
      if (!looked || (newest && !done)) {
        const auto checkpoint = verified(path);
        if (checkpoint && !looked) best_one = best_step(checkpoint->state);
        if (checkpoint) looked = true;
        if (newest && checkpoint) ++kept;
      } else if (newest) {
        ++kept;
      }
      if (newest) continue;
      if (best_one == entry.id.step) {
        best_one.reset();  // the newest of that step alone
        continue;
      }
      add(path, fmt::format("the newest {} of its section are kept", wanted));
    }
  }

  /// By their names, wherever in the folder.
  void leftovers(const fs::path& folder) {
    std::error_code code;
    for (auto entry = fs::recursive_directory_iterator(folder, code);
         !code && entry != fs::recursive_directory_iterator(); entry.increment(code)) {
      const auto name = entry->path().filename().string();
      const bool bad = name.ends_with(".bad");
      if (!bad && !io::is_temporary(entry->path())) continue;
      if (entry->is_directory()) entry.disable_recursion_pending();
      if (std::none_of(found.begin(), found.end(),
                       [&](const Removal& removal) { return removal.path == entry->path(); }))
        add(entry->path(), bad ? "was set aside as damaged" : "left by a write that never ended");
    }
  }
};

}  // namespace

std::vector<Removal> removable(const Job& job, std::uint64_t keep, BestGeneration best) {
  Search search;
  const auto referred = referred_checkpoints(job.plan);
  for (const auto& instance : job.graph.instances) {
    const auto folder = job.place.run / instance.name;
    if (!referred[instance.section]) search.generations(folder, keep, best);
    search.leftovers(folder);
  }
  std::error_code code;
  std::vector<fs::path> old;
  for (auto entry = fs::directory_iterator(job.place.run / ".old", code);
       !code && entry != fs::directory_iterator(); entry.increment(code))
    old.push_back(entry->path());
  std::sort(old.begin(), old.end());
  for (const auto& path : old) search.add(path, "an output of other options, set aside");
  return std::move(search.found);
}

}  // namespace retort::pipeline
