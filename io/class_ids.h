// Lists of class ids as bits, and what must hold of them. Format: docs/logit_shard_format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace retort::io {

/// The largest id. DataError if it is not below `classes`.
std::uint32_t largest_class_id(std::uint64_t classes, std::span<const std::uint32_t> ids);
/// Whether no id is listed twice; `largest` is the largest of them.
bool all_distinct(std::span<const std::uint32_t> ids, std::uint32_t largest);
/// Both. DataError (reason only): an id >= `classes`, or one listed twice.
void check_class_ids(std::uint64_t classes, std::span<const std::uint32_t> ids);

/// `bits` (0..32) of each id, the first in the lowest bits of the first byte; unused bits are 0.
/// `out`: ceil(ids * bits / 8) bytes.
void pack_ids(std::span<const std::uint32_t> ids, int bits, std::span<std::byte> out);
/// The other way round. At least 8 bytes of `row` must follow the ids, so that one unaligned 64-bit
/// load per id never leaves it.
void unpack_ids(std::span<const std::byte> row, int bits, std::span<std::uint32_t> ids);

}  // namespace retort::io
