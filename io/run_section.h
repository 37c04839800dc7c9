// Files that a section of a plan wrote: in the run's folder they are what the section's manifest
// names, whoever reads them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "io/atomic_file.h"

namespace retort::io {

/// A path as it is called, and, where links lead elsewhere, where.
std::vector<std::filesystem::path> names_of(const std::filesystem::path& path);
/// Whether a folder lies in that of a plan's run.
bool in_run(const std::filesystem::path& folder);
/// What the manifest of its section names `file`, which lies in a plan's run, to be; nothing
/// elsewhere, as for an exported model outside of a run, which somebody may have trained on, and
/// for a name that the manifest, or a damaged one, does not have.
std::optional<FileSeal> seal_in_section(const std::filesystem::path& file);
/// DataError if `file` lies in the folder of a finished section of a plan's run, whose manifest
/// does not name it or with another content than `seal`, that of what was read.
void require_of_section(const std::filesystem::path& file, const FileSeal& seal);
/// Of all bytes of a file.
FileSeal seal_of(std::span<const std::byte> bytes);

}  // namespace retort::io
