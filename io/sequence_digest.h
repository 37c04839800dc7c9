// A digest of a sequence of samples that does not depend on how the sequence was cut into shards:
// digests of neighbouring pieces are joined without reading the samples again.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace retort::io {

/// Four polynomial hashes modulo 2^61 - 1 (Karp and Rabin 1987), each over 8 bytes of a sample's
/// SHA-256: about 244 bits against accidents; not meant against forgery.
class SequenceDigest {
 public:
  /// Appends one sample: its payload and its labels.
  void add(std::span<const std::byte> payload, std::span<const std::uint32_t> labels);
  /// Appends the sequence `next`.
  void append(const SequenceDigest& next);
  std::uint64_t count() const { return count_; }
  /// "COUNT:" and 64 hex digits; parse(text()) is identity. DataError naming `where` if malformed.
  std::string text() const;
  static SequenceDigest parse(std::string_view text, const std::string& where);
  bool operator==(const SequenceDigest&) const = default;

 private:
  std::uint64_t count_ = 0;
  std::array<std::uint64_t, 4> lanes_{};
};

}  // namespace retort::io
