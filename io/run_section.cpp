#include "io/run_section.h"

#include "core/error.h"
#include "core/hash.h"
#include "io/manifest.h"

namespace retort::io {
namespace {

namespace fs = std::filesystem;

/// A section's name may have folders in it.
constexpr int kDeepest = 3;

bool in_run(fs::path folder) {
  std::error_code error;
  for (int level = 0; level < kDeepest && folder.has_relative_path(); ++level) {
    folder = folder.parent_path();
    if (fs::is_directory(folder / ".plan", error)) return true;
  }
  return false;
}

}  // namespace

void require_of_section(const fs::path& file, const FileSeal& seal) {
  const fs::path path = fs::absolute(file).lexically_normal(), folder = path.parent_path();
  if (!has_manifest(folder) || !in_run(folder)) return;
  for (const Member& member : read_manifest(folder).members)
    if (member.name == path.filename().string() && member.seal != seal)
      throw core::DataError(file.string() + ": is not what " + (folder / "manifest.json").string() +
                            " names: damaged, or changed since; make it anew (retort check "
                            "--repair), and train on in a copy outside of the run");
}

FileSeal seal_of(std::span<const std::byte> bytes) {
  return {bytes.size(), core::sha256_hex(bytes)};
}

}  // namespace retort::io
