#include "io/run_section.h"

#include "core/error.h"
#include "core/hash.h"
#include "io/manifest.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;

/// A section's name may have folders in it.
constexpr int kDeepest = 3;

/// Whether `folder` is a finished one of a run: its manifest speaks of its files.
bool is_finished_in_run(const fs::path& folder) { return has_manifest(folder) && in_run(folder); }

fs::path normal(const fs::path& file) { return fs::absolute(file).lexically_normal(); }

}  // namespace

bool in_run(const fs::path& folder) {
  std::error_code error;
  fs::path above = normal(folder);
  for (int level = 0; level < kDeepest && above.has_relative_path(); ++level) {
    above = above.parent_path();
    if (fs::is_directory(above / ".plan", error)) return true;
  }
  return false;
}

std::optional<FileSeal> seal_in_section(const fs::path& file) {
  const fs::path path = normal(file), folder = path.parent_path();
  if (is_finished_in_run(folder))
    for (Member& member : read_manifest(folder).members)
      if (member.name == path.filename().string()) return std::move(member.seal);
  return std::nullopt;
}

void require_of_section(const fs::path& file, const FileSeal& seal) {
  const fs::path folder = normal(file).parent_path();
  if (!is_finished_in_run(folder)) return;
  const std::string manifest = (folder / "manifest.json").string();
  const auto named = seal_in_section(file);
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
