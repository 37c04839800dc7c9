#include "nn/device_norm.h"

#include <optional>

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "nn/batch_norm.h"

namespace retort::nn {
namespace {

// The memory order in which a tensor is a [rows, channels] matrix.
at::Tensor as_rows(const at::Tensor& x) {
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x.contiguous();
}

// Scratch of `count` T on the device of `like`.
template <class T>
at::Tensor room(const at::Tensor& like, std::uint64_t count) {
  return at::empty({static_cast<std::int64_t>(count * sizeof(T))}, like.options().dtype(at::kByte));
}
template <class T>
T* pointer(const at::Tensor& scratch) {
  return static_cast<T*>(scratch.mutable_data_ptr());
}

NormShape shape_of(const at::Tensor& x, std::uint64_t groups) {
  NormShape shape;
  shape.groups = groups;
  shape.channels = static_cast<std::uint64_t>(x.size(1));
  shape.rows = static_cast<std::uint64_t>(x.numel()) / shape.channels / groups;
  shape.epsilon = kBatchNormEpsilon;
  if (static_cast<std::uint64_t>(x.size(0)) % groups != 0)
    throw core::InternalError("micro-shards of one launch must be of one size");
  return shape;
}

struct DeviceNormFunction : torch::autograd::Function<DeviceNormFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& gamma, const at::Tensor& beta,
                            const std::optional<at::Tensor>& residual_input,
                            const Accelerator* accelerator, std::int64_t groups,
                            Activation activation, const DeviceMoments* moments) {
    const at::Tensor x = as_rows(input);
    const at::Tensor residual = residual_input ? as_rows(*residual_input) : at::Tensor();
    NormForward n;
    n.shape = shape_of(x, static_cast<std::uint64_t>(groups));
    const std::uint64_t per_group = n.shape.groups * n.shape.channels;
    const at::Tensor partial = room<ChannelPair>(x, n.shape.chunk_sums());
    const at::Tensor scale = room<ScaleShift>(x, per_group);
    at::Tensor y = at::empty_like(x);
    const at::Tensor mean = at::empty({static_cast<std::int64_t>(per_group)}, x.options());
    const at::Tensor inverse = at::empty_like(mean);
    n.x = x.const_data_ptr<float>();
    n.residual = residual.defined() ? residual.const_data_ptr<float>() : nullptr;
    n.gamma = gamma.const_data_ptr<float>();
    n.beta = beta.const_data_ptr<float>();
    n.activation = activation;
    n.partial = pointer<ChannelPair>(partial);
    n.y = y.mutable_data_ptr<float>();
    n.mean = mean.mutable_data_ptr<float>();
    n.inverse = inverse.mutable_data_ptr<float>();
    n.scale = pointer<ScaleShift>(scale);
    n.statistics = moments->sums.mutable_data_ptr<double>() + moments->first;
    n.statistics_stride = static_cast<std::uint64_t>(moments->sums.size(1));
    accelerator->kernels().norm_forward(accelerator->stream(), n);
    context->save_for_backward({x, y, mean, inverse, gamma});
    context->saved_data["relu"] = activation == Activation::relu;
    context->saved_data["residual"] = residual.defined();
    context->saved_data["groups"] = groups;
    context->saved_data["accelerator"] = reinterpret_cast<std::int64_t>(accelerator);
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grad_outputs) {
    const auto* accelerator =
        reinterpret_cast<const Accelerator*>(context->saved_data["accelerator"].toInt());
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], grad = as_rows(grad_outputs[0]);
    NormBackward n;
    n.shape = shape_of(x, static_cast<std::uint64_t>(context->saved_data["groups"].toInt()));
    const at::Tensor partial = room<ChannelPair>(x, n.shape.chunk_sums());
    const at::Tensor channel = room<BackwardChannel>(x, n.shape.groups * n.shape.channels);
    const at::Tensor grad_x = at::empty_like(x);
    const at::Tensor grad_gamma = at::empty({x.size(1)}, x.options());
    const at::Tensor grad_beta = at::empty_like(grad_gamma);
    at::Tensor grad_residual;
    if (context->saved_data["residual"].toBool()) grad_residual = at::empty_like(x);
    n.x = x.const_data_ptr<float>();
    n.y = saved[1].const_data_ptr<float>();
    n.grad_output = grad.const_data_ptr<float>();
    n.mean = saved[2].const_data_ptr<float>();
    n.inverse = saved[3].const_data_ptr<float>();
    n.gamma = saved[4].const_data_ptr<float>();
    n.activation = context->saved_data["relu"].toBool() ? Activation::relu : Activation::none;
    n.partial = pointer<ChannelPair>(partial);
    n.channel = pointer<BackwardChannel>(channel);
    n.input = grad_x.mutable_data_ptr<float>();
    n.residual = grad_residual.defined() ? grad_residual.mutable_data_ptr<float>() : nullptr;
    n.grad_gamma = grad_gamma.mutable_data_ptr<float>();
    n.grad_beta = grad_beta.mutable_data_ptr<float>();
    accelerator->kernels().norm_backward(accelerator->stream(), n);
    const at::Tensor none;
    return {grad_x, grad_gamma, grad_beta, grad_residual, none, none, none, none};
  }
};

}  // namespace

at::Tensor device_norm_train(const Accelerator& accelerator, std::uint64_t groups,
                             const at::Tensor& x, const at::Tensor& gamma, const at::Tensor& beta,
                             const at::Tensor& residual, Activation activation,
                             const DeviceMoments& moments) {
  // The engine takes an absent tensor as an empty optional only.
  const auto added = residual.defined() ? std::optional<at::Tensor>(residual) : std::nullopt;
  return DeviceNormFunction::apply(x, gamma, beta, added, &accelerator,
                                   static_cast<std::int64_t>(groups), activation, &moments);
}

at::Tensor device_norm_evaluate(const Accelerator& accelerator, const at::Tensor& input,
                                const at::Tensor& gamma, const at::Tensor& beta,
                                const at::Tensor& running_mean, const at::Tensor& running_variance,
                                const at::Tensor& residual_input, Activation activation) {
  const at::Tensor x = as_rows(input);
  const at::Tensor residual =
      residual_input.defined() ? as_rows(residual_input.to(x.scalar_type())) : at::Tensor();
  at::Tensor y = at::empty_like(x);
  ScaleRows r;
  r.channels = static_cast<std::uint64_t>(x.size(1));
  r.rows = static_cast<std::uint64_t>(x.numel()) / r.channels;
  const at::Tensor scale = room<ScaleShift>(x, r.channels);
  r.type = x.scalar_type() == at::kBFloat16 ? ValueType::bf16 : ValueType::fp32;
  r.x = x.const_data_ptr();
  r.residual = residual.defined() ? residual.const_data_ptr() : nullptr;
  r.gamma = gamma.const_data_ptr<float>();
  r.beta = beta.const_data_ptr<float>();
  r.mean = running_mean.const_data_ptr<float>();
  r.variance = running_variance.const_data_ptr<float>();
  r.epsilon = kBatchNormEpsilon;
  r.activation = activation;
  r.scale = pointer<ScaleShift>(scale);
  r.y = y.mutable_data_ptr();
  accelerator.kernels().scale_rows(accelerator.stream(), r);
  return y;
}

}  // namespace retort::nn
