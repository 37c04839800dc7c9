// Parameters and buffers of a model, kept in flat fp32 vectors: one per kind, every tensor at an
// offset that is a multiple of 16 elements (64 bytes), so that alignment, and with it the bits of
// kernels, is the same everywhere. Gradients, momentum and averages use the same offsets.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/tensor_file.h"

namespace retort::nn {

enum class Initialise {
  zeros,
  ones,
  kaiming_normal,  // fan-out, ReLU: He et al. 2015
  uniform_fan_in,  // U(-1/sqrt(fan_in), 1/sqrt(fan_in)): linear layers
  quarter,         // 0.25: slopes of PReLU
  normal_small,    // N(0, 0.02^2): transformers
};
enum class WeightDecay { yes, no };  // no: biases, norms, slopes, tokens

struct ParameterSpec {
  std::string name;  // "layer1.0.conv1.weight"
  std::vector<std::int64_t> shape;
  Initialise initialise = Initialise::zeros;
  WeightDecay decay = WeightDecay::yes;
  std::int64_t fan = 1;      // of the initialiser
  std::uint64_t offset = 0;  // in the flat vector, elements
  std::uint64_t elements = 0;
};

/// Filled while a model is built; read-only afterwards.
class ParameterLayout {
 public:
  /// Returns the index; names must be unique.
  int add(std::string name, std::vector<std::int64_t> shape, Initialise initialise,
          WeightDecay decay, std::int64_t fan);
  const std::vector<ParameterSpec>& specs() const { return specs_; }
  /// Elements of the flat vector, padding included.
  std::uint64_t flat_size() const { return flat_size_; }
  /// Elements without padding.
  std::uint64_t count() const { return count_; }
  /// The first `parameters` of them, at the same offsets.
  ParameterLayout first(std::size_t parameters) const;

 private:
  std::vector<ParameterSpec> specs_;
  std::uint64_t flat_size_ = 0;
  std::uint64_t count_ = 0;
};

/// A zeroed flat fp32 vector of this layout (64-byte aligned).
at::Tensor make_flat(const ParameterLayout& layout);
/// Fills by RandomStream(seed, RandomUse::initialise, {index}); order-independent.
void initialise(const ParameterLayout& layout, std::uint64_t seed, at::Tensor& flat);
/// The values that initialise() gives the elements of parameter `index` from `first` on, for a kind
/// whose elements are drawn one by one; InternalError for others.
void initialise_part(const ParameterLayout& layout, std::size_t index, std::uint64_t seed,
                     std::uint64_t first, std::span<float> values);
/// Views of `flat`, one per spec, in its shape.
std::vector<at::Tensor> views(const ParameterLayout& layout, const at::Tensor& flat);
/// To and from files: names get `prefix`. from_tensors: DataError naming a missing tensor, a wrong
/// shape, or one too many (of that prefix).
io::TensorMap to_tensors(const ParameterLayout& layout, const at::Tensor& flat,
                         const std::string& prefix);
void from_tensors(const ParameterLayout& layout, const io::TensorMap& tensors,
                  const std::string& prefix, at::Tensor& flat);

}  // namespace retort::nn
