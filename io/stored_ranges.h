// What the tensor files of docs/tensor_format.md hold, for those who put ranges together
// (tensor_assembler.cpp, tensor_files.cpp). Nobody else includes this.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/hdf5.h"
#include "io/tensor_file.h"

namespace retort::io {

inline constexpr std::string_view kTensorGroup = "tensors";

/// The product of a shape; `overflow`: it has none.
std::uint64_t elements_of(std::span<const std::uint64_t> shape, bool& overflow);

/// One dataset: elements [first, first + elements) of a tensor.
struct StoredRange {
  std::string path, tensor;
  TensorSpec spec;  // of the whole tensor
  std::uint64_t first = 0, elements = 0;
};
/// DataError that names `where` if a dataset is no range of a tensor.
std::vector<StoredRange> stored_ranges(const Hdf5Reader& reader, const std::string& where);

/// DataErrors of a tensor whose ranges do not cover it once: elements up to `next` are there, then
/// comes a range from `begin` on; or no other.
[[noreturn]] void throw_not_covered(const std::string& where, const std::string& tensor,
                                    std::uint64_t next, std::uint64_t begin);
[[noreturn]] void throw_cut_short(const std::string& where, const std::string& tensor,
                                  std::uint64_t next, std::uint64_t elements);

}  // namespace retort::io
