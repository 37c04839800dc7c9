// What the built-in image models share: layers that are added by name while the model is built
// (parameters, buffers, facts, places in the batch statistics) and applied in forward passes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/kernels/batch_norm.h"
#include "nn/model.h"

namespace retort::nn {

enum class Bias { no, yes };

class LayeredModel : public Model {
 public:
  void fold_statistics(std::span<const double> sums, at::Tensor& buffers_flat) const override;

 protected:
  struct Conv {
    int weight = 0;
    std::int64_t stride = 1, padding = 0;
  };
  struct Linear {
    int weight = 0, bias = -1;
  };
  struct BatchNorm {
    std::int64_t channels = 0;
    int gamma = 0, beta = 0, running_mean = 0, running_variance = 0;
    std::uint64_t statistics = 0;  // of BatchStatistics::sums: n * mean, then n * (var + mean^2)
  };
  /// Channels, height and width that flow from layer to layer.
  struct Extent {
    std::int64_t channels = 0, height = 1, width = 1;
  };

  /// Square kernel, padding kernel / 2, no bias; `extent` becomes that of the output.
  Conv add_conv(const std::string& name, Extent& extent, std::int64_t outputs, std::int64_t kernel,
                std::int64_t stride);
  BatchNorm add_batch_norm(const std::string& name, const Extent& extent);
  Linear add_linear(const std::string& name, std::int64_t inputs, std::int64_t outputs, Bias bias);
  /// To be called once all layers are added.
  void finish_layers();

  /// `x` and the result are fp32; between them the pass's precision holds, for linear layers, too.
  /// On an accelerator, convolutions of passes without gradients give bf16 in a bf16 pass, which
  /// all functions here take.
  at::Tensor apply(const Conv& conv, const at::Tensor& x, const Pass& pass) const;
  at::Tensor apply(const Linear& linear, const at::Tensor& x, const Pass& pass) const;
  /// `x` must be a fresh tensor: evaluation overwrites it. `residual` may be undefined.
  at::Tensor apply(const BatchNorm& norm, at::Tensor x, const at::Tensor& residual,
                   Activation activation, const Pass& pass) const;
  /// Checks what every forward pass on pictures relies on (InternalError) and prepares the
  /// statistics; the pixels.
  const at::Tensor& begin(const Input& input, const Pass& pass) const;
  /// The same without a look at the input.
  void begin(const Pass& pass) const;

 private:
  std::vector<BatchNorm> norms_;
};

}  // namespace retort::nn
