// Tensors as logical flat ranges with global offsets: the form of checkpoints and models. A set of
// files may hold any cut of the tensors; readers put ranges together, so the world size that wrote
// them does not matter. Format: docs/tensor_format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/range.h"
#include "io/hdf5.h"

namespace retort::io {

/// A contiguous range [offset, offset + elements) of the flattened tensor `name`. Does not own.
struct TensorRange {
  std::string name;  // "parameters/layer1.0.conv1.weight"
  DType type = DType::f32;
  std::vector<std::uint64_t> shape;  // of the whole tensor; product = total elements
  std::uint64_t offset = 0;          // first element of this range
  std::span<const std::byte> bytes;  // of this range
};

/// A whole tensor, owned.
struct Tensor {
  DType type = DType::f32;
  std::vector<std::uint64_t> shape;
  std::vector<std::byte> bytes;
  std::uint64_t elements() const;
  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};
using TensorMap = std::map<std::string, Tensor>;

/// A tensor without its bytes.
struct TensorSpec {
  DType type = DType::f32;
  std::vector<std::uint64_t> shape;
  std::uint64_t elements() const;
  std::uint64_t bytes() const { return elements() * size_of(type); }
};
/// Of tensors that nobody has to hold whole: what they are, and a function that reads a piece of
/// one, from its element `first` on, until `into` is full.
struct TensorSource {
  std::map<std::string, TensorSpec> specs;
  std::function<void(const std::string& name, std::uint64_t first, std::span<std::byte> into)> read;
};
/// `tensors` outlive it.
TensorSource source_of(const TensorMap& tensors);

inline constexpr std::uint32_t kTensorFormatVersion = 1;

/// The whole tensors of a map as ranges; the map owns the bytes.
std::vector<TensorRange> whole_ranges(const TensorMap& tensors);

/// The images of one or more tensor files for these ranges, in order; a range that does not fit is
/// cut. No ranges: no images. `limit`: most bytes of tensors and their descriptions in an image.
/// InternalError if a range does not fit its shape, or a name has empty or dot parts.
std::vector<std::vector<std::byte>> tensor_images(std::string_view kind,
                                                  std::span<const TensorRange> ranges,
                                                  std::uint64_t limit = kMemberLimit);
/// The same of whole tensors, by name, each image handed out and forgotten before the next is made.
/// Returns digest() of the tensors.
std::string for_each_tensor_image(std::string_view kind, const TensorSource& source,
                                  const std::function<void(std::vector<std::byte> image)>& take,
                                  std::uint64_t limit = kMemberLimit);
/// Which rows, in its first dimension, are wanted of a tensor; nothing: all. What a rank reads that
/// owns a part of the classes.
using RowSelection = std::function<std::optional<core::Range>(const std::string& tensor)>;

/// Puts the ranges of several images together. DataError if a tensor has gaps, overlaps or
/// contradicting shapes; the message names tensor and file.
class TensorAssembler {
 public:
  /// Keeps no more than the rows of `selection`; a range that ends beyond a tensor is cut.
  explicit TensorAssembler(RowSelection selection = {}) : selection_(std::move(selection)) {}
  void add(std::vector<std::byte> image, const std::string& where, std::string_view kind);
  /// The tensors, of which rows were selected with so many rows. The assembler is empty afterwards.
  TensorMap finish();

 private:
  struct Range {
    std::uint64_t offset = 0;  // in elements
    std::vector<std::byte> bytes;
    std::string where;
  };
  struct Pieces {
    DType type = DType::f32;
    std::vector<std::uint64_t> shape;
    std::string where;   // a file that holds a range of it
    core::Range wanted;  // elements
    std::vector<Range> ranges;
  };
  core::Range wanted_of(const std::string& name, const Pieces& pieces) const;

  RowSelection selection_;
  std::map<std::string, Pieces> pieces_;
};

/// DataError that names `where` and the first tensor, by name, of which a value is NaN or infinite:
/// weights that nothing can be computed with. Every reader of models calls it.
void require_finite(const TensorMap& tensors, const std::string& where);
/// The same of a piece of a tensor that begins at its element `first`.
void require_finite(const std::string& name, DType type, std::span<const std::byte> piece,
                    std::uint64_t first, const std::string& where);

/// SHA-256 over sorted (name, dtype, shape, bytes): equal whatever the layout. The exact bytes that
/// are hashed: docs/tensor_format.md.
std::string digest(const TensorMap& tensors);
std::string digest(const TensorSource& source);

}  // namespace retort::io
