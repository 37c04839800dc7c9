#include "nn/batch_norm.h"

#include <cmath>
#include <optional>
#include <vector>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"

namespace retort::nn {
namespace {

// The memory order in which a tensor is a [rows, channels] matrix.
at::Tensor as_rows(const at::Tensor& x) {
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x.contiguous();
}

std::span<const float> floats(const at::Tensor& t) {
  return {t.const_data_ptr<float>(), static_cast<std::size_t>(t.numel())};
}

std::span<float> mutable_floats(at::Tensor& t) {
  return {t.data_ptr<float>(), static_cast<std::size_t>(t.numel())};
}

struct Scale {
  std::vector<float> scale, shift;
};

// gamma * (x - mean) * inverse + beta as x * scale + shift.
Scale scale_of(std::span<const float> gamma, std::span<const float> beta,
               std::span<const double> mean, std::span<const double> inverse) {
  Scale s;
  s.scale.resize(gamma.size());
  s.shift.resize(gamma.size());
  for (std::size_t c = 0; c < gamma.size(); ++c) {
    const double scale = gamma[c] * inverse[c];
    s.scale[c] = static_cast<float>(scale);
    s.shift[c] = static_cast<float>(beta[c] - mean[c] * static_cast<double>(s.scale[c]));
  }
  return s;
}

struct BatchNormFunction : torch::autograd::Function<BatchNormFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& gamma, const at::Tensor& beta,
                            const std::optional<at::Tensor>& residual_input, Activation activation,
                            ChannelMoments moments) {
    const at::Tensor x = as_rows(input);
    const at::Tensor residual = residual_input ? as_rows(*residual_input) : at::Tensor();
    const std::int64_t channels = x.size(1);
    const std::int64_t rows = x.numel() / channels;
    channel_moments(rows, channels, x.const_data_ptr<float>(), moments);

    at::Tensor mean = at::empty({channels}, at::kFloat);
    at::Tensor inverse = at::empty({channels}, at::kFloat);
    std::vector<double> exact(static_cast<std::size_t>(channels));
    for (std::int64_t c = 0; c < channels; ++c) {
      const auto i = static_cast<std::size_t>(c);
      exact[i] = 1.0 / std::sqrt(moments.variance[i] + kBatchNormEpsilon);
      mean.data_ptr<float>()[c] = static_cast<float>(moments.mean[i]);
      inverse.data_ptr<float>()[c] = static_cast<float>(exact[i]);
    }
    const Scale s = scale_of(floats(gamma), floats(beta), moments.mean, exact);
    at::Tensor y = at::empty_like(x);
    scale_shift(rows, channels, x.const_data_ptr<float>(),
                residual.defined() ? residual.const_data_ptr<float>() : nullptr, s.scale, s.shift,
                activation, y.data_ptr<float>());
    context->save_for_backward({x, y, mean, inverse, gamma});
    context->saved_data["relu"] = activation == Activation::relu;
    context->saved_data["residual"] = residual.defined();
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grad_outputs) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    const at::Tensor grad = as_rows(grad_outputs[0]);
    const std::int64_t channels = x.size(1);
    const std::int64_t rows = x.numel() / channels;
    at::Tensor grad_x = at::empty_like(x);
    at::Tensor grad_gamma = at::empty({channels}, at::kFloat);
    at::Tensor grad_beta = at::empty({channels}, at::kFloat);
    at::Tensor grad_residual;
    if (context->saved_data["residual"].toBool()) grad_residual = at::empty_like(x);
    batch_norm_backward(rows, channels, x.const_data_ptr<float>(), saved[1].const_data_ptr<float>(),
                        grad.const_data_ptr<float>(), floats(saved[2]), floats(saved[3]),
                        floats(saved[4]),
                        context->saved_data["relu"].toBool() ? Activation::relu : Activation::none,
                        {grad_x.data_ptr<float>(),
                         grad_residual.defined() ? grad_residual.data_ptr<float>() : nullptr,
                         mutable_floats(grad_gamma), mutable_floats(grad_beta)});
    return {grad_x, grad_gamma, grad_beta, grad_residual, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor batch_norm_train(const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                            const at::Tensor& residual, Activation activation,
                            ChannelMoments moments) {
  // The engine takes an absent tensor as an empty optional only.
  const auto added = residual.defined() ? std::optional<at::Tensor>(residual) : std::nullopt;
  return BatchNormFunction::apply(x, gamma, beta, added, activation, moments);
}

at::Tensor batch_norm_evaluate(at::Tensor input, Source source, const at::Tensor& gamma,
                               const at::Tensor& beta, const at::Tensor& running_mean,
                               const at::Tensor& running_variance, const at::Tensor& residual_input,
                               Activation activation) {
  if (input.requires_grad() || gamma.requires_grad())
    throw core::InternalError(
        "BatchNorm with running statistics has no gradient: run the pass in training");
  at::Tensor x = as_rows(input);
  const at::Tensor residual = residual_input.defined() ? as_rows(residual_input) : at::Tensor();
  const std::int64_t channels = x.size(1);
  std::vector<double> mean(static_cast<std::size_t>(channels)), inverse(mean.size());
  for (std::size_t c = 0; c < mean.size(); ++c) {
    mean[c] = floats(running_mean)[c];
    inverse[c] = 1.0 / std::sqrt(floats(running_variance)[c] + kBatchNormEpsilon);
  }
  const Scale s = scale_of(floats(gamma), floats(beta), mean, inverse);
  at::Tensor y = source == Source::kept ? at::empty_like(x) : x;
  scale_shift(x.numel() / channels, channels, x.const_data_ptr<float>(),
              residual.defined() ? residual.const_data_ptr<float>() : nullptr, s.scale, s.shift,
              activation, y.data_ptr<float>());
  return y;
}

}  // namespace retort::nn
