#include "nn/prelu.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/prelu.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/kernels/prelu.h"

namespace retort::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor as_rows(const at::Tensor& x) {
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x.contiguous();
}

std::span<const float> floats(const at::Tensor& t) {
  return {t.const_data_ptr<float>(), static_cast<std::size_t>(t.numel())};
}

struct PReluFunction : torch::autograd::Function<PReluFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& input,
                            const at::Tensor& slope) {
    const at::Tensor x = as_rows(input);
    at::Tensor y = at::empty_like(x);
    prelu_forward(x.numel() / x.size(1), x.size(1), x.const_data_ptr<float>(), floats(slope),
                  y.mutable_data_ptr<float>());
    context->save_for_backward({x, slope});
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &slope = saved[1];
    const at::Tensor grad = as_rows(gradients[0]);
    at::Tensor grad_x = at::empty_like(x), grad_slope = at::empty({x.size(1)}, x.options());
    prelu_backward(x.numel() / x.size(1), x.size(1), x.const_data_ptr<float>(),
                   grad.const_data_ptr<float>(), floats(slope), grad_x.mutable_data_ptr<float>(),
                   {grad_slope.mutable_data_ptr<float>(), static_cast<std::size_t>(x.size(1))});
    return {grad_x, grad_slope};
  }
};

}  // namespace

at::Tensor channel_prelu(const at::Tensor& x, const at::Tensor& slope) {
  if (!x.is_cpu()) return at::prelu(x, slope.to(x.scalar_type()));
  return PReluFunction::apply(x, slope);
}

}  // namespace retort::nn
