#include "nn/layout.h"

#include <algorithm>

#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <torch/csrc/autograd/custom_function.h>

namespace retort::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

// to[block][column][row] = from[block][row][column]
template <class From, class To>
void transpose_blocks(std::int64_t blocks, std::int64_t rows, std::int64_t columns,
                      const From* from, To* to) {
  for (std::int64_t block = 0; block < blocks; ++block) {
    const From* in = from + block * rows * columns;
    To* out = to + block * rows * columns;
    for (std::int64_t c = 0; c < columns; ++c)
      for (std::int64_t r = 0; r < rows; ++r)
        out[c * rows + r] = static_cast<To>(in[r * columns + c]);
  }
}

struct WeightFunction : torch::autograd::Function<WeightFunction> {
  static at::Tensor forward(AutogradContext*, const at::Tensor& weight, Precision precision) {
    const at::Tensor in = weight.contiguous();
    const auto type = precision == Precision::bf16 ? at::kBFloat16 : at::kFloat;
    at::Tensor out = at::empty(weight.sizes(), weight.options().dtype(type), kChannelsLast);
    const std::int64_t blocks = in.size(0), rows = in.size(1), columns = in.size(2) * in.size(3);
    const float* from = in.const_data_ptr<float>();
    if (precision == Precision::bf16)
      transpose_blocks(blocks, rows, columns, from, out.mutable_data_ptr<c10::BFloat16>());
    else
      transpose_blocks(blocks, rows, columns, from, out.mutable_data_ptr<float>());
    return out;
  }
  static variable_list backward(AutogradContext*, variable_list gradients) {
    const at::Tensor in = gradients[0];
    // The backend may hand it out in either layout.
    if (!in.is_contiguous(kChannelsLast)) return {in.to(at::kFloat).contiguous(), at::Tensor()};
    at::Tensor out = at::empty(in.sizes(), in.options().dtype(at::kFloat));
    const std::int64_t blocks = in.size(0), rows = in.size(2) * in.size(3), columns = in.size(1);
    float* to = out.mutable_data_ptr<float>();
    if (in.scalar_type() == at::kBFloat16)
      transpose_blocks(blocks, rows, columns, in.const_data_ptr<c10::BFloat16>(), to);
    else
      transpose_blocks(blocks, rows, columns, in.const_data_ptr<float>(), to);
    return {out, at::Tensor()};
  }
};

struct PoolFunction : torch::autograd::Function<PoolFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& images) {
    const at::Tensor in = images.contiguous(kChannelsLast);
    const std::int64_t channels = in.size(1), pixels = in.size(2) * in.size(3);
    context->saved_data["height"] = in.size(2);
    context->saved_data["width"] = in.size(3);
    at::Tensor out = at::empty({in.size(0), channels}, in.options());
    const float share = 1.0f / static_cast<float>(pixels);
    for (std::int64_t n = 0; n < in.size(0); ++n) {
      const float* x = in.const_data_ptr<float>() + n * pixels * channels;
      float* sum = out.mutable_data_ptr<float>() + n * channels;
      std::copy_n(x, channels, sum);
      for (std::int64_t p = 1; p < pixels; ++p)
        for (std::int64_t c = 0; c < channels; ++c) sum[c] += x[p * channels + c];
      for (std::int64_t c = 0; c < channels; ++c) sum[c] *= share;
    }
    return out;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const at::Tensor grad = gradients[0].contiguous();
    const std::int64_t channels = grad.size(1);
    const std::int64_t height = context->saved_data["height"].toInt();
    const std::int64_t width = context->saved_data["width"].toInt();
    at::Tensor out =
        at::empty({grad.size(0), channels, height, width}, grad.options(), kChannelsLast);
    const float share = 1.0f / static_cast<float>(height * width);
    for (std::int64_t n = 0; n < grad.size(0); ++n) {
      const float* g = grad.const_data_ptr<float>() + n * channels;
      float* to = out.mutable_data_ptr<float>() + n * height * width * channels;
      for (std::int64_t c = 0; c < channels; ++c) to[c] = g[c] * share;
      for (std::int64_t p = 1; p < height * width; ++p)
        std::copy_n(to, channels, to + p * channels);
    }
    return {out};
  }
};

}  // namespace

at::Tensor channels_last(const at::Tensor& images) {
  if (images.size(1) == 1 && images.is_contiguous())
    // One channel is laid out the same either way; only the strides tell convolutions which.
    return images.as_strided(images.sizes(),
                             {images.size(2) * images.size(3), 1, images.size(3), 1});
  return images.contiguous(kChannelsLast);
}

at::Tensor weight_channels_last(const at::Tensor& weight, Precision precision) {
  if (!weight.is_cpu())
    return weight.to(precision == Precision::bf16 ? at::kBFloat16 : at::kFloat)
        .contiguous(kChannelsLast);
  // A 1x1 convolution's weight is laid out the same either way, and both ways at once.
  if (weight.is_contiguous(kChannelsLast) &&
      (!weight.requires_grad() || (precision == Precision::fp32 && weight.is_contiguous())))
    return weight.to(precision == Precision::bf16 ? at::kBFloat16 : at::kFloat);
  return WeightFunction::apply(weight, precision);
}

at::Tensor as_read_by_convolutions(const at::Tensor& parameter) {
  return parameter.dim() == 4 && parameter.size(1) > 1 ? parameter.contiguous(kChannelsLast)
                                                       : parameter;
}

at::Tensor average_pool(const at::Tensor& images) {
  if (!images.is_cpu() || images.scalar_type() != at::kFloat)
    return at::mean(images, {2, 3}, false, at::kFloat);
  return PoolFunction::apply(images);
}

}  // namespace retort::nn
