#include "nn/time_convolution.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "nn/kernels/time_windows.h"

namespace retort::nn {
namespace {

TimeWindows windows_of(const at::Tensor& begin, const at::Tensor& weight) {
  return {{begin.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(begin.numel())},
          weight.size(2),
          weight.size(0)};
}

struct TimeConvolutionFunction : torch::autograd::Function<TimeConvolutionFunction> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& units_in,
                            const at::Tensor& begin_in, const at::Tensor& weight_in,
                            const at::Tensor& bias_in) {
    if (!units_in.is_cpu() || !weight_in.is_cpu())
      throw core::InternalError("convolutions over texts run on the CPU");
    const at::Tensor units = units_in.contiguous(), begin = begin_in.contiguous();
    const at::Tensor weight = weight_in.contiguous(), bias = bias_in.contiguous();
    const TimeWindows windows = windows_of(begin, weight);
    const std::int64_t dim = weight.size(3), texts = begin.numel() - 1;
    if (units.size(1) != dim || windows.begin.back() != units.size(0))
      throw core::InternalError("a convolution over texts of other units");
    // One product per unit and slice instead of an unfolded matrix of windows: `width` times fewer
    // multiplications at the ends, nothing copied but the weight, slices first.
    const at::Tensor slices = weight.view({windows.filters, windows.width, dim})
                                  .transpose(0, 1)
                                  .contiguous()
                                  .view({windows.width * windows.filters, dim});
    const at::Tensor products = at::mm(units, slices.t()).to(at::kFloat);
    at::Tensor out = at::empty({texts, windows.filters}, at::kFloat);
    at::Tensor starts = at::empty({texts, windows.filters}, at::kInt);
    max_over_time(windows, products.const_data_ptr<float>(), bias.const_data_ptr<float>(),
                  out.data_ptr<float>(), starts.data_ptr<std::int32_t>());
    context->save_for_backward({units, begin, weight, out, starts});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grad_outputs) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &units = saved[0], &begin = saved[1], &weight = saved[2];
    const at::Tensor grad = grad_outputs[0].contiguous();
    const TimeWindows windows = windows_of(begin, weight);
    at::Tensor grad_units = at::zeros_like(units), grad_weight = at::zeros_like(weight);
    at::Tensor grad_bias = at::zeros({windows.filters}, at::kFloat);
    add_max_over_time_gradient(
        windows, weight.size(3), {units.const_data_ptr<float>(), weight.const_data_ptr<float>()},
        saved[3].const_data_ptr<float>(), saved[4].const_data_ptr<std::int32_t>(),
        grad.const_data_ptr<float>(),
        {grad_units.data_ptr<float>(), grad_weight.data_ptr<float>(), grad_bias.data_ptr<float>()});
    return {grad_units, at::Tensor(), grad_weight, grad_bias};
  }
};

}  // namespace

at::Tensor time_convolution(const at::Tensor& units, const at::Tensor& begin,
                            const at::Tensor& weight, const at::Tensor& bias) {
  return TimeConvolutionFunction::apply(units, begin, weight, bias);
}

}  // namespace retort::nn
