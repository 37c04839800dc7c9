#include "io/checked_file.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/hash.h"

namespace retort::io {

namespace {
constexpr std::uint64_t kReadAtOnce = 1 << 22;
}

PartChecksums::PartChecksums(std::span<const std::byte> image, std::uint64_t part)
    : size_(image.size()), part_(part) {
  add(image);
}

PartChecksums::PartChecksums(const RandomAccessFile& file, FileSeal& seal, std::uint64_t part)
    : size_(file.size()), part_(part) {
  const std::uint64_t at_once = std::max(kReadAtOnce / part_, std::uint64_t{1}) * part_;
  core::Sha256 hash;
  std::vector<std::byte> piece;
  for (std::uint64_t done = 0; done < size_; done += piece.size()) {
    piece.resize(std::min(at_once, size_ - done));
    file.read(done, piece);
    hash.update(piece);
    add(piece);
  }
  seal = {size_, hash.hex()};
}

void PartChecksums::add(std::span<const std::byte> bytes) {
  for (std::uint64_t at = 0; at < bytes.size(); at += part_)
    checksums_.push_back(core::crc32c(bytes.subspan(at, std::min(part_, bytes.size() - at))));
}

void PartChecksums::read(const RandomAccessFile& file, std::uint64_t offset,
                         std::span<std::byte> into) const {
  if (offset > size_ || into.size() > size_ - offset)
    throw core::DataError(file.path().string() + ": ended at byte " + std::to_string(size_) +
                          " when it was verified; start again when nobody writes to it");
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
