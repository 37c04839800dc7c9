#include "io/tensor_file.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/hash.h"

namespace retort::io {
namespace {

constexpr std::string_view kGroup = "tensors";
// What HDF5 needs at most for a range besides its bytes and thrice its name: headers, links,
// attributes. Measured: below 1,000 bytes with one range per tensor (tensor_file_test).
constexpr std::uint64_t kRangeOverhead = 1536;
constexpr std::uint64_t kFileOverhead = 8192;

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

void check_range(const TensorRange& range) {
  const auto reject = [&](const std::string& why) {
    throw core::InternalError("cannot store tensor '" + range.name + "': " + why);
  };
  std::size_t begin = 0;
  while (begin <= range.name.size()) {
    const std::size_t end = std::min(range.name.find('/', begin), range.name.size());
    const std::string_view part = std::string_view(range.name).substr(begin, end - begin);
    // A part of digits alone could be mistaken for the offset of a range.
    if (part.empty() || part == "." || part == ".." ||
        part.find_first_not_of("0123456789") == std::string_view::npos) {
      reject("a part of its name is empty, dots or a number");
    }
    begin = end + 1;
  }
  bool overflow = false;
  const std::uint64_t total = elements_of(range.shape, overflow);
  const std::uint64_t size = size_of(range.type);
  if (overflow) reject("its shape overflows");
  if (range.bytes.size() % size != 0) reject("its bytes are no whole elements");
  const std::uint64_t count = range.bytes.size() / size;
  if (range.offset > total || count > total - range.offset) reject("a range ends beyond its shape");
}

// Ranges of one image: cuts of the caller's ranges.
using Cut = std::vector<TensorRange>;

std::vector<Cut> cut_ranges(std::span<const TensorRange> ranges, std::uint64_t limit) {
  std::vector<Cut> cuts;
  std::uint64_t room = 0;
  for (const TensorRange& range : ranges) {
    check_range(range);
    const std::uint64_t size = size_of(range.type);
    const std::uint64_t overhead = kRangeOverhead + 3 * range.name.size() + 8 * range.shape.size();
    TensorRange rest = range;
    do {
      const std::uint64_t least =
          overhead + std::min<std::uint64_t>(rest.bytes.size(), std::uint64_t{1} << 20);
      if (cuts.empty() || room < std::min(least, limit)) {
        cuts.emplace_back();
        room = limit - std::min(limit, kFileOverhead);
      }
      const std::uint64_t fit = room > overhead ? (room - overhead) / size * size : 0;
      // At least one element goes into an empty image, so every loop ends.
      const std::uint64_t take = std::min<std::uint64_t>(rest.bytes.size(), std::max(fit, size));
      TensorRange piece = rest;
      piece.bytes = rest.bytes.first(take);
      cuts.back().push_back(std::move(piece));
      rest.bytes = rest.bytes.subspan(take);
      rest.offset += take / size;
      room -= std::min(room, overhead + take);
    } while (!rest.bytes.empty());
  }
  return cuts;
}

std::vector<std::byte> image_of(std::string_view kind, const Cut& cut) {
  std::uint64_t expected = kFileOverhead + (std::uint64_t{1} << 16);
  for (const TensorRange& range : cut) expected += range.bytes.size() + kRangeOverhead;
  Hdf5Writer writer(kind, kTensorFormatVersion, expected);
  for (const TensorRange& range : cut) {
    const std::string group = std::string(kGroup) + "/" + range.name;
    const std::string path = group + "/" + std::to_string(range.offset);
    bool overflow = false;
    const std::uint64_t count = range.bytes.size() / size_of(range.type);
    const bool whole = count == elements_of(range.shape, overflow);
    // A whole tensor keeps its shape: readers without Retort need no attribute then.
    const std::vector<std::uint64_t> flat{count};
    writer.dataset(path, range.type, whole ? range.shape : flat, range.bytes);
    writer.attribute(path, "shape", std::span<const std::uint64_t>(range.shape));
  }
  return writer.finish();
}

struct Unbounded {
  std::uint64_t count = 0;
  std::uint64_t first = 0;
};

// Floating point whose exponent bits are all ones: NaN or an infinity.
template <class Bits>
Unbounded with_full_exponent(const Tensor& tensor, Bits exponent) {
  Unbounded found;
  const std::span<const Bits> values = tensor.as<Bits>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if ((values[i] & exponent) != exponent) continue;
    if (found.count++ == 0) found.first = i;
  }
  return found;
}

Unbounded unbounded_values(const Tensor& tensor) {
  switch (tensor.type) {
    case DType::f16:
      return with_full_exponent<std::uint16_t>(tensor, 0x7C00);
    case DType::f32:
      return with_full_exponent<std::uint32_t>(tensor, 0x7F800000);
    case DType::f64:
      return with_full_exponent<std::uint64_t>(tensor, 0x7FF0000000000000);
    default:
      return {};
  }
}

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

std::uint64_t Tensor::elements() const {
  std::uint64_t product = 1;
  for (const std::uint64_t extent : shape) product *= extent;
  return product;
}

std::vector<TensorRange> whole_ranges(const TensorMap& tensors) {
  std::vector<TensorRange> ranges;
  ranges.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    ranges.push_back({name, tensor.type, tensor.shape, 0, tensor.bytes});
  }
  return ranges;
}

std::vector<std::vector<std::byte>> tensor_images(std::string_view kind,
                                                  std::span<const TensorRange> ranges,
                                                  std::uint64_t limit) {
  std::vector<std::vector<std::byte>> images;
  for (const Cut& cut : cut_ranges(ranges, std::min(limit, kMemberLimit))) {
    images.push_back(image_of(kind, cut));
  }
  return images;
}

void TensorAssembler::add(std::vector<std::byte> image, const std::string& where,
                          std::string_view kind) {
  const Hdf5Reader reader(std::move(image), where, kind, kTensorFormatVersion);
  const auto reject = [&](const std::string& path, const std::string& why) {
    throw core::DataError(where + ": " + path + " " + why + "; restore the file or make it anew");
  };
  for (const std::string& path : reader.datasets()) {
    const std::size_t slash = path.rfind('/');
    const std::string offset = path.substr(slash + 1);
    if (!path.starts_with(std::string(kGroup) + "/") || slash <= kGroup.size() || offset.empty() ||
        offset.size() > 18 || offset.find_first_not_of("0123456789") != std::string::npos) {
      reject(path, "is no range of a tensor");
    }
    const std::string name = path.substr(kGroup.size() + 1, slash - kGroup.size() - 1);
    Range range{std::stoull(offset), reader.bytes(path), where};
    const DType type = reader.dtype(path);
    std::vector<std::uint64_t> shape = reader.numbers(path, "shape");
    bool overflow = false;
    const std::uint64_t total = elements_of(shape, overflow);
    const std::uint64_t count = range.bytes.size() / size_of(type);
    if (overflow || range.offset > total || count > total - range.offset) {
      reject(path, "ends beyond the shape of its tensor");
    }
    const auto [found, fresh] = pieces_.try_emplace(name);
    if (fresh) {
      found->second.type = type;
      found->second.shape = std::move(shape);
      found->second.where = where;
      found->second.wanted = wanted_of(name, found->second);
    } else if (found->second.type != type || found->second.shape != shape) {
      reject(path, "has another shape or type than in " + found->second.where);
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
      if (range.offset != next) {
        throw core::DataError(range.where + ": tensor " + name +
                              (range.offset < next ? " has overlapping ranges at element "
                                                   : " has a gap at element ") +
                              std::to_string(std::min(next, range.offset)) +
                              "; restore the files or make them anew");
      }
      next += range.bytes.size() / size;
    }
    if (next != pieces.wanted.end) {
      throw core::DataError(pieces.where + ": tensor " + name + " ends at element " +
                            std::to_string(next) + " of " + std::to_string(pieces.wanted.end) +
                            "; restore the files or make them anew");
    }
    bool overflow = false;
    const std::uint64_t total = elements_of(pieces.shape, overflow);
    if (pieces.wanted.size() != total)
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

void require_finite(const TensorMap& tensors, const std::string& where) {
  for (const auto& [name, tensor] : tensors) {
    const Unbounded found = unbounded_values(tensor);
    if (found.count == 0) continue;
    throw core::DataError(
        where + ": tensor " + name + ": " + std::to_string(found.count) + " of " +
        std::to_string(tensor.elements()) + " values are NaN or infinite, the first is element " +
        std::to_string(found.first) + ": the model diverged or was saved wrongly; use another one");
  }
}

std::string digest(const TensorMap& tensors) {
  core::Sha256 hash;
  hash.update_u64(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    hash.update_u64(name.size()).update(name);
    hash.update(name_of(tensor.type)).update_u64(tensor.shape.size());
    for (const std::uint64_t extent : tensor.shape) hash.update_u64(extent);
    hash.update_u64(tensor.bytes.size()).update(tensor.bytes);
  }
  return hash.hex();
}

}  // namespace retort::io
