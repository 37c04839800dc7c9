#include "io/checked_file.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/hash.h"

namespace retort::io {

PartChecksums::PartChecksums(std::span<const std::byte> image, std::uint64_t part)
    : size_(image.size()), part_(part) {
  for (std::uint64_t at = 0; at < size_; at += part_)
    checksums_.push_back(core::crc32c(image.subspan(at, std::min(part_, size_ - at))));
}

void PartChecksums::read(const RandomAccessFile& file, std::uint64_t offset,
                         std::span<std::byte> into) const {
  std::vector<std::byte> part(std::min(part_, size_));
  while (!into.empty()) {
    const std::uint64_t index = offset / part_, begin = index * part_;
    const std::span<std::byte> whole = std::span(part).first(std::min(part_, size_ - begin));
    file.read(begin, whole);
    if (core::crc32c(whole) != checksums_.at(index))
      throw core::DataError(file.path().string() + ": bytes " + std::to_string(begin) + " to " +
                            std::to_string(begin + whole.size()) +
                            " have changed since they were verified; restore the file or make it "
                            "anew");
    const std::uint64_t skipped = offset - begin;
    const std::uint64_t count = std::min<std::uint64_t>(into.size(), whole.size() - skipped);
    std::ranges::copy(whole.subspan(skipped, count), into.begin());
    into = into.subspan(count);
    offset += count;
  }
}

}  // namespace retort::io
