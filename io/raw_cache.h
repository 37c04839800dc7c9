// Keeps raw samples that were read and checked once: later epochs take them out of memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace retort::io {

/// Room for all samples of a split, all of one size. Thread-safe: several threads may offer the
/// same sample; one of them stores it, readers see whole samples only.
class RawCache {
 public:
  /// Address space for samples * sample_bytes; memory is used as samples come in.
  RawCache(std::uint64_t samples, std::size_t sample_bytes);
  /// The sample's bytes, valid as long as the cache, or an empty span if it isn't there (yet).
  std::span<const std::byte> find(std::uint64_t sample) const;
  void keep(std::uint64_t sample, std::span<const std::byte> bytes);

 private:
  enum State : std::uint8_t { kAbsent, kWriting, kThere };
  std::size_t sample_bytes_;
  std::unique_ptr<std::byte[]> bytes_;
  std::vector<std::atomic<std::uint8_t>> states_;
};

}  // namespace retort::io
