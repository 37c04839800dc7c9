#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "io/stored_ranges.h"
#include "io/tensor_file.h"

namespace retort::io {

// Elements of a shape; nothing if the product overflows.
std::uint64_t elements_of(std::span<const std::uint64_t> shape, bool& overflow) {
  std::uint64_t product = 1;
  overflow = false;
  for (const std::uint64_t extent : shape) {
    if (extent != 0 && product > (std::numeric_limits<std::uint64_t>::max() >> 4) / extent) {
      overflow = true;
      return 0;
    }
    product *= extent;
  }
  return product;
}

std::vector<StoredRange> stored_ranges(const Hdf5Reader& reader, const std::string& where) {
  const auto reject = [&](const std::string& path, const std::string& why) {
    throw core::DataError(where + ": " + path + " " + why + "; restore the file or make it anew");
  };
  std::vector<StoredRange> ranges;
  for (const std::string& path : reader.datasets()) {
    const std::size_t slash = path.rfind('/');
    const std::string first = path.substr(slash + 1);
    if (!path.starts_with(std::string(kTensorGroup) + "/") || slash <= kTensorGroup.size() ||
        first.empty() || first.size() > 18 ||
        first.find_first_not_of("0123456789") != std::string::npos) {
      reject(path, "is no range of a tensor");
    }
    StoredRange range{path,
                      path.substr(kTensorGroup.size() + 1, slash - kTensorGroup.size() - 1),
                      {reader.dtype(path), reader.numbers(path, "shape")},
                      std::stoull(first)};
    bool overflow = false, shape_overflow = false;
    range.elements = elements_of(reader.shape(path), overflow);
    const std::uint64_t total = elements_of(range.spec.shape, shape_overflow);
    if (overflow || shape_overflow || range.first > total || range.elements > total - range.first) {
      reject(path, "ends beyond the shape of its tensor");
    }
    ranges.push_back(std::move(range));
  }
  return ranges;
}

void throw_not_covered(const std::string& where, const std::string& tensor, std::uint64_t next,
                       std::uint64_t begin) {
  throw core::DataError(
      where + ": tensor " + tensor +
      (begin < next ? " has overlapping ranges at element " : " has a gap at element ") +
      std::to_string(std::min(next, begin)) + "; restore the files or make them anew");
}

void throw_cut_short(const std::string& where, const std::string& tensor, std::uint64_t next,
                     std::uint64_t elements) {
  throw core::DataError(where + ": tensor " + tensor + " ends at element " + std::to_string(next) +
                        " of " + std::to_string(elements) +
                        "; restore the files or make them anew");
}

namespace {

// Cuts a range of elements, each of `size` bytes, to what is wanted of it. False: nothing is.
bool clip(std::uint64_t& offset, std::vector<std::byte>& bytes, std::uint64_t size,
          const core::Range& wanted) {
  const std::uint64_t begin = std::max(offset, wanted.begin);
  const std::uint64_t end = std::min(offset + bytes.size() / size, wanted.end);
  if (begin >= end) return bytes.empty() && offset == wanted.begin;  // an empty tensor's range
  if (end - begin < bytes.size() / size) {
    const auto first = bytes.begin() + static_cast<std::ptrdiff_t>((begin - offset) * size);
    bytes = {first, first + static_cast<std::ptrdiff_t>((end - begin) * size)};
  }
  offset = begin;
  return true;
}

}  // namespace

void TensorAssembler::add(std::vector<std::byte> image, const std::string& where,
                          std::string_view kind) {
  const Hdf5Reader reader(std::move(image), where, kind, kTensorFormatVersion);
  for (StoredRange& stored : stored_ranges(reader, where)) {
    const std::string &path = stored.path, &name = stored.tensor;
    Range range{stored.first, reader.bytes(path), where};
    const DType type = stored.spec.type;
    std::vector<std::uint64_t> shape = std::move(stored.spec.shape);
    const auto [found, fresh] = pieces_.try_emplace(name);
    if (fresh) {
      found->second.type = type;
      found->second.shape = std::move(shape);
      found->second.where = where;
      found->second.wanted = wanted_of(name, found->second);
    } else if (found->second.type != type || found->second.shape != shape) {
      throw core::DataError(where + ": " + path + " has another shape or type than in " +
                            found->second.where + "; restore the file or make it anew");
    }
    if (clip(range.offset, range.bytes, size_of(type), found->second.wanted))
      found->second.ranges.push_back(std::move(range));
  }
}

core::Range TensorAssembler::wanted_of(const std::string& name, const Pieces& pieces) const {
  bool overflow = false;
  const std::uint64_t total = elements_of(pieces.shape, overflow);
  const auto rows = selection_ ? selection_(name) : std::nullopt;
  if (!rows || total == 0) return {0, total};
  const std::uint64_t count = pieces.shape[0], row = total / count;
  const std::uint64_t end = std::min(rows->end, count);
  return {std::min(rows->begin, end) * row, end * row};
}

TensorMap TensorAssembler::finish() {
  TensorMap tensors;
  for (auto& [name, pieces] : pieces_) {
    const std::uint64_t size = size_of(pieces.type);
    std::sort(pieces.ranges.begin(), pieces.ranges.end(), [](const Range& a, const Range& b) {
      return std::pair(a.offset, a.bytes.size()) < std::pair(b.offset, b.bytes.size());
    });
    std::uint64_t next = pieces.wanted.begin;  // first element that is still missing
    for (const Range& range : pieces.ranges) {
      if (range.offset != next) throw_not_covered(range.where, name, next, range.offset);
      next += range.bytes.size() / size;
    }
    if (next != pieces.wanted.end) throw_cut_short(pieces.where, name, next, pieces.wanted.end);
    bool overflow = false;
    const std::uint64_t total = elements_of(pieces.shape, overflow);
    if (pieces.wanted.size() != total && total > 0 && pieces.shape[0] > 0)
      pieces.shape[0] = pieces.wanted.size() / (total / pieces.shape[0]);
    Tensor tensor{pieces.type, std::move(pieces.shape), {}};
    if (pieces.ranges.size() == 1) {
      tensor.bytes = std::move(pieces.ranges[0].bytes);
    } else {
      tensor.bytes.reserve(pieces.wanted.size() * size);
      for (Range& range : pieces.ranges) {
        tensor.bytes.insert(tensor.bytes.end(), range.bytes.begin(), range.bytes.end());
        range.bytes = {};
      }
    }
    tensors.emplace(name, std::move(tensor));
  }
  pieces_.clear();
  return tensors;
}

}  // namespace retort::io
