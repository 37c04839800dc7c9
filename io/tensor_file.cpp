#include "io/tensor_file.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "io/stored_ranges.h"

namespace retort::io {
namespace {

// What HDF5 needs at most for a range besides its bytes and thrice its name: headers, links,
// attributes. Measured: below 1,000 bytes with one range per tensor (tensor_file_test).
constexpr std::uint64_t kRangeOverhead = 1536;
constexpr std::uint64_t kFileOverhead = 8192;

void check_name(const std::string& name) {
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = std::string_view(name).substr(begin, end - begin);
    // A part of digits alone could be mistaken for the offset of a range.
    if (part.empty() || part == "." || part == ".." ||
        part.find_first_not_of("0123456789") == std::string_view::npos) {
      throw core::InternalError("cannot store tensor '" + name +
                                "': a part of its name is empty, dots or a number");
    }
    begin = end + 1;
  }
}

void check_range(const TensorRange& range) {
  const auto reject = [&](const std::string& why) {
    throw core::InternalError("cannot store tensor '" + range.name + "': " + why);
  };
  check_name(range.name);
  bool overflow = false;
  const std::uint64_t total = elements_of(range.shape, overflow);
  const std::uint64_t size = size_of(range.type);
  if (overflow) reject("its shape overflows");
  if (range.bytes.size() % size != 0) reject("its bytes are no whole elements");
  const std::uint64_t count = range.bytes.size() / size;
  if (range.offset > total || count > total - range.offset) reject("a range ends beyond its shape");
}

// A range as far as it decides where images are cut.
struct Extent {
  std::size_t name_size = 0, dimensions = 0;
  std::uint64_t element = 0, bytes = 0;
};
// Bytes [begin, begin + size) of a range.
struct Piece {
  std::size_t range = 0;
  std::uint64_t begin = 0, size = 0;
};

// The pieces of each image.
std::vector<std::vector<Piece>> cut(std::span<const Extent> extents, std::uint64_t limit) {
  std::vector<std::vector<Piece>> cuts;
  std::uint64_t room = 0;
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const Extent& extent = extents[i];
    const std::uint64_t overhead = kRangeOverhead + 3 * extent.name_size + 8 * extent.dimensions;
    std::uint64_t begin = 0;
    do {
      const std::uint64_t rest = extent.bytes - begin;
      const std::uint64_t least = overhead + std::min<std::uint64_t>(rest, std::uint64_t{1} << 20);
      if (cuts.empty() || room < std::min(least, limit)) {
        cuts.emplace_back();
        room = limit - std::min(limit, kFileOverhead);
      }
      const std::uint64_t fit =
          room > overhead ? (room - overhead) / extent.element * extent.element : 0;
      // At least one element goes into an empty image, so every loop ends.
      const std::uint64_t take = std::min<std::uint64_t>(rest, std::max(fit, extent.element));
      cuts.back().push_back({i, begin, take});
      begin += take;
      room -= std::min(room, overhead + take);
    } while (begin < extent.bytes);
  }
  return cuts;
}

std::vector<std::byte> image_of(std::string_view kind, std::span<const TensorRange> ranges) {
  std::uint64_t expected = kFileOverhead + (std::uint64_t{1} << 16);
  for (const TensorRange& range : ranges) expected += range.bytes.size() + kRangeOverhead;
  Hdf5Writer writer(kind, kTensorFormatVersion, expected);
  for (const TensorRange& range : ranges) {
    const std::string group = std::string(kTensorGroup) + "/" + range.name;
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
Unbounded with_full_exponent(std::span<const std::byte> bytes, Bits exponent) {
  Unbounded found;
  for (std::size_t at = 0; at + sizeof(Bits) <= bytes.size(); at += sizeof(Bits)) {
    Bits value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    if ((value & exponent) != exponent) continue;
    if (found.count++ == 0) found.first = at / sizeof(Bits);
  }
  return found;
}

Unbounded unbounded_values(DType type, std::span<const std::byte> bytes) {
  switch (type) {
    case DType::f16:
      return with_full_exponent<std::uint16_t>(bytes, 0x7C00);
    case DType::f32:
      return with_full_exponent<std::uint32_t>(bytes, 0x7F800000);
    case DType::f64:
      return with_full_exponent<std::uint64_t>(bytes, 0x7FF0000000000000);
    default:
      return {};
  }
}

/// Adds tensors one after another, each whole and in pieces, in the order of their names.
class TensorHash {
 public:
  explicit TensorHash(std::uint64_t tensors) { hash_.update_u64(tensors); }
  void begin(const std::string& name, const TensorSpec& spec) {
    hash_.update_u64(name.size()).update(name);
    hash_.update(name_of(spec.type)).update_u64(spec.shape.size());
    for (const std::uint64_t extent : spec.shape) hash_.update_u64(extent);
    hash_.update_u64(spec.bytes());
  }
  void update(std::span<const std::byte> bytes) { hash_.update(bytes); }
  std::string hex() { return hash_.hex(); }

 private:
  core::Sha256 hash_;
};

}  // namespace

std::uint64_t TensorSpec::elements() const {
  std::uint64_t product = 1;
  for (const std::uint64_t extent : shape) product *= extent;
  return product;
}

std::uint64_t Tensor::elements() const { return TensorSpec{type, shape}.elements(); }

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
  std::vector<Extent> extents;
  for (const TensorRange& range : ranges) {
    check_range(range);
    extents.push_back(
        {range.name.size(), range.shape.size(), size_of(range.type), range.bytes.size()});
  }
  std::vector<std::vector<std::byte>> images;
  for (const auto& pieces : cut(extents, std::min(limit, kMemberLimit))) {
    std::vector<TensorRange> parts;
    for (const Piece& piece : pieces) {
      TensorRange& part = parts.emplace_back(ranges[piece.range]);
      part.bytes = part.bytes.subspan(piece.begin, piece.size);
      part.offset += piece.begin / size_of(part.type);
    }
    images.push_back(image_of(kind, parts));
  }
  return images;
}

std::string for_each_tensor_image(std::string_view kind, const TensorSource& source,
                                  const std::function<void(std::vector<std::byte> image)>& take,
                                  std::uint64_t limit) {
  std::vector<std::pair<std::string, TensorSpec>> specs(source.specs.begin(), source.specs.end());
  std::vector<Extent> extents;
  for (const auto& [name, spec] : specs) {
    check_name(name);
    extents.push_back({name.size(), spec.shape.size(), size_of(spec.type), spec.bytes()});
  }
  TensorHash hash(specs.size());
  for (const auto& pieces : cut(extents, std::min(limit, kMemberLimit))) {
    std::vector<std::vector<std::byte>> bytes;
    std::vector<TensorRange> parts;
    bytes.reserve(pieces.size());
    for (const Piece& piece : pieces) {
      const auto& [name, spec] = specs[piece.range];
      const std::uint64_t first = piece.begin / size_of(spec.type);
      source.read(name, first, bytes.emplace_back(piece.size));
      if (piece.begin == 0) hash.begin(name, spec);
      hash.update(bytes.back());
      parts.push_back({name, spec.type, spec.shape, first, bytes.back()});
    }
    std::vector<std::byte> image = image_of(kind, parts);
    bytes.clear();
    take(std::move(image));
  }
  return hash.hex();
}

void require_finite(const std::string& name, DType type, std::span<const std::byte> piece,
                    std::uint64_t first, const std::string& where) {
  const Unbounded found = unbounded_values(type, piece);
  if (found.count == 0) return;
  throw core::DataError(where + ": tensor " + name + ": " + std::to_string(found.count) + " of " +
                        std::to_string(piece.size() / size_of(type)) +
                        " values are NaN or infinite, the first is element " +
                        std::to_string(first + found.first) +
                        ": the model diverged or was saved wrongly; use another one");
}

void require_finite(const TensorMap& tensors, const std::string& where) {
  for (const auto& [name, tensor] : tensors)
    require_finite(name, tensor.type, tensor.bytes, 0, where);
}

TensorSource source_of(const TensorMap& tensors) {
  TensorSource source;
  for (const auto& [name, tensor] : tensors) source.specs[name] = {tensor.type, tensor.shape};
  source.read = [&tensors](const std::string& name, std::uint64_t first,
                           std::span<std::byte> into) {
    const Tensor& tensor = tensors.at(name);
    const std::span<const std::byte> from(tensor.bytes);
    std::ranges::copy(from.subspan(first * size_of(tensor.type), into.size()), into.begin());
  };
  return source;
}

std::string digest(const TensorMap& tensors) {
  TensorHash hash(tensors.size());
  for (const auto& [name, tensor] : tensors) {
    hash.begin(name, {tensor.type, tensor.shape});
    hash.update(tensor.bytes);
  }
  return hash.hex();
}

std::string digest(const TensorSource& source) {
  constexpr std::uint64_t kPiece = std::uint64_t{16} << 20;
  TensorHash hash(source.specs.size());
  std::vector<std::byte> piece;
  for (const auto& [name, spec] : source.specs) {
    hash.begin(name, spec);
    const std::uint64_t bytes = spec.bytes();
    for (std::uint64_t at = 0; at < bytes; at += piece.size()) {
      piece.resize(std::min(kPiece, bytes - at));
      source.read(name, at / size_of(spec.type), piece);
      hash.update(piece);
    }
  }
  return hash.hex();
}

}  // namespace retort::io
