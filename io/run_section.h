// Files that a section of a plan wrote: in the run's folder they are what the section's manifest
// names, whoever reads them.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "io/atomic_file.h"

namespace retort::io {

/// DataError if `file` lies in the folder of a section of a plan's run, whose manifest names it
/// with another content than `seal`, that of what was read. Silent for files elsewhere, such as an
/// exported model outside of a run, which somebody may have trained on.
void require_of_section(const std::filesystem::path& file, const FileSeal& seal);
/// Of all bytes of a file.
FileSeal seal_of(std::span<const std::byte> bytes);

}  // namespace retort::io
