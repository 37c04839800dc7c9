#include "io/raw_cache.h"

#include <algorithm>

#include "core/error.h"

namespace retort::io {

// Not cleared: pages that no sample fills are never touched.
RawCache::RawCache(std::uint64_t samples, std::size_t sample_bytes)
    : sample_bytes_(sample_bytes),
      bytes_(std::make_unique_for_overwrite<std::byte[]>(samples * sample_bytes)),
      states_(samples) {}

std::span<const std::byte> RawCache::find(std::uint64_t sample) const {
  if (states_[sample].load(std::memory_order_acquire) != kThere) return {};
  return {bytes_.get() + sample * sample_bytes_, sample_bytes_};
}

void RawCache::keep(std::uint64_t sample, std::span<const std::byte> bytes) {
  if (bytes.size() != sample_bytes_)
    throw core::InternalError("raw cache: a sample of another size");
  std::uint8_t expected = kAbsent;
  if (!states_[sample].compare_exchange_strong(expected, kWriting)) return;
  std::copy(bytes.begin(), bytes.end(), bytes_.get() + sample * sample_bytes_);
  states_[sample].store(kThere, std::memory_order_release);
}

}  // namespace retort::io
