// Archives in ZIP form that others read (TorchScript files), held against their own checksums.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace retort::io {

/// DataError that names `where` and the first member whose bytes do not have the CRC-32 that the
/// archive stores, or what is wrong with an archive that cannot be read.
void require_sound_zip(std::span<const std::byte> bytes, const std::string& where);

}  // namespace retort::io
