#include "io/run_section.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "io/manifest.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;

/// A section's name may have folders in it.
constexpr int kDeepest = 3;

bool lies_in_run(fs::path folder) {
  std::error_code error;
  for (int level = 0; level < kDeepest && folder.has_relative_path(); ++level) {
    folder = folder.parent_path();
    if (fs::is_directory(folder / ".plan", error)) return true;
  }
  return false;
}

/// The file by the name in whose folder a manifest of a run speaks of it.
std::optional<fs::path> in_finished_section(const fs::path& file) {
  for (const fs::path& path : names_of(file))
    if (has_manifest(path.parent_path()) && lies_in_run(path.parent_path())) return path;
  return std::nullopt;
}

std::optional<FileSeal> named_seal(const fs::path& path) {
  for (Member& member : read_manifest(path.parent_path()).members)
    if (member.name == path.filename().string()) return std::move(member.seal);
  return std::nullopt;
}

}  // namespace

std::vector<fs::path> names_of(const fs::path& path) {
  std::error_code error;
  std::vector<fs::path> names = {fs::absolute(path).lexically_normal()};
  fs::path real = fs::weakly_canonical(path, error);
  if (!error && real != names.front()) names.push_back(std::move(real));
  return names;
}

bool in_run(const fs::path& folder) {
  return std::ranges::any_of(names_of(folder),
                             [](const fs::path& path) { return lies_in_run(path); });
}

std::optional<FileSeal> seal_in_section(const fs::path& file) {
  const auto path = in_finished_section(file);
  if (!path) return std::nullopt;
  try {
    return named_seal(*path);
  } catch (const core::DataError&) {
    return std::nullopt;  // no manifest of Retort's, or a damaged one, which its section is told of
  }
}

void require_of_section(const fs::path& file, const FileSeal& seal) {
  const auto path = in_finished_section(file);
  if (!path) return;
  const std::string manifest = (path->parent_path() / "manifest.json").string();
  const auto named = named_seal(*path);
  if (!named)
    throw core::DataError(file.string() + ": is not named by " + manifest +
                          ": it is not the section's; move it out of the run");
  if (*named != seal)
    throw core::DataError(file.string() + ": is not what " + manifest +
                          " names: damaged, or changed since; make it anew (retort check "
                          "--repair), and train on in a copy outside of the run");
}

FileSeal seal_of(std::span<const std::byte> bytes) {
  return {bytes.size(), core::sha256_hex(bytes)};
}

}  // namespace retort::io
