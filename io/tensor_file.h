// Tensors as logical flat ranges with global offsets: the form of checkpoints and models. A set of
// files may hold any cut of the tensors; readers put ranges together, so the world size that wrote
// them does not matter. Format: docs/tensor_format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "io/hdf5.h"

namespace retort::io {

/// A contiguous range [offset, offset + elements) of the flattened tensor `name`. Does not own.
struct TensorRange {
  std::string name;                  // "parameters/layer1.0.conv1.weight"
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

/// The images of one or more tensor files (each <= 256 MB) for these ranges, in order.
std::vector<std::vector<std::byte>> tensor_images(std::string_view kind,
                                                  std::span<const TensorRange> ranges);
/// Puts the ranges of several images together. DataError if a tensor has gaps, overlaps or
/// contradicting shapes.
class TensorAssembler {
 public:
  void add(std::vector<std::byte> image, const std::string& where, std::string_view kind);
  TensorMap finish();

 private:
  struct Piece {
    std::uint64_t covered = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges;
    Tensor tensor;
  };
  std::map<std::string, Piece> pieces_;
};

/// SHA-256 over sorted (name, dtype, shape, bytes): equal whatever the layout.
std::string digest(const TensorMap& tensors);

}  // namespace retort::io
