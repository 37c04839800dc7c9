#include "pipeline/folder_progress.h"

#include <charconv>
#include <chrono>
#include <string>

#include "io/manifest.h"
#include "io/sample_marks.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;

/// Folders change while they are looked at: what is gone by then does not count.
std::optional<double> age_of(const fs::path& path) {
  std::error_code code;
  const auto time = fs::last_write_time(path, code);
  if (code) return std::nullopt;
  return std::chrono::duration<double>(fs::file_time_type::clock::now() - time).count();
}

std::optional<std::uint64_t> step_of(const std::string& generation) {
  constexpr std::string_view prefix = "gen-";
  if (generation.rfind(prefix, 0) != 0 || generation.ends_with(".bad")) return std::nullopt;
  std::uint64_t step = 0;
  const auto* begin = generation.data() + prefix.size();
  const auto result = std::from_chars(begin, generation.data() + generation.size(), step);
  if (result.ec != std::errc{} || result.ptr == begin) return std::nullopt;
  return step;
}

}  // namespace

FolderProgress folder_progress(const fs::path& folder) {
  FolderProgress progress;
  progress.heartbeat_age = age_of(folder / "heartbeat.json");
  std::error_code code;
  for (auto entry = fs::directory_iterator(folder / "checkpoints", code);
       !code && entry != fs::directory_iterator(); entry.increment(code)) {
    const auto step = step_of(entry->path().filename().string());
    if (!step || !io::has_manifest(entry->path())) continue;
    if (progress.step && *progress.step > *step) continue;
    progress.step = step;
    progress.generation_age = age_of(entry->path() / "manifest.json");
  }
  code.clear();
  for (auto entry = fs::recursive_directory_iterator(folder / "members", code);
       !code && entry != fs::recursive_directory_iterator(); entry.increment(code))
    if (entry->path().extension() == ".json") ++progress.members;
  progress.reading = io::read_marks(folder);
  return progress;
}

}  // namespace retort::pipeline
