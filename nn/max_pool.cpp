#include "nn/max_pool.h"

#include <limits>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/gt.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/slice.h>
#include <ATen/ops/where.h>
#include <torch/csrc/autograd/custom_function.h>

#include "core/error.h"
#include "nn/kernels/max_pool.h"

namespace retort::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr auto kChannelsLast = at::MemoryFormat::ChannelsLast;

PoolShape shape_of(const at::Tensor& images, std::int64_t kernel, std::int64_t stride,
                   std::int64_t padding) {
  PoolShape shape;
  shape.images = images.size(0);
  shape.channels = images.size(1);
  shape.height = images.size(2);
  shape.width = images.size(3);
  shape.kernel = kernel;
  shape.stride = stride;
  shape.padding = padding;
  shape.out_height = pooled_size(shape.height, kernel, stride, padding);
  shape.out_width = pooled_size(shape.width, kernel, stride, padding);
  return shape;
}

struct MaxPoolFunction : torch::autograd::Function<MaxPoolFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& images, std::int64_t kernel,
                            std::int64_t stride, std::int64_t padding) {
    const at::Tensor x = images.contiguous(kChannelsLast);
    const PoolShape shape = shape_of(x, kernel, stride, padding);
    const std::vector<std::int64_t> sizes = {shape.images, shape.channels, shape.out_height,
                                             shape.out_width};
    at::Tensor y = at::empty(sizes, x.options(), kChannelsLast);
    at::Tensor place = at::empty(sizes, x.options().dtype(at::kByte), kChannelsLast);
    max_pool_forward(shape, x.const_data_ptr<float>(), y.mutable_data_ptr<float>(),
                     place.mutable_data_ptr<std::uint8_t>());
    context->save_for_backward({place});
    context->saved_data["height"] = shape.height;
    context->saved_data["width"] = shape.width;
    context->saved_data["kernel"] = kernel;
    context->saved_data["stride"] = stride;
    context->saved_data["padding"] = padding;
    return y;
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    auto& numbers = context->saved_data;
    const at::Tensor place = context->get_saved_variables()[0];
    const at::Tensor grad = gradients[0].contiguous(kChannelsLast);
    at::Tensor out =
        at::empty({grad.size(0), grad.size(1), numbers["height"].toInt(), numbers["width"].toInt()},
                  grad.options(), kChannelsLast);
    const PoolShape shape = shape_of(out, numbers["kernel"].toInt(), numbers["stride"].toInt(),
                                     numbers["padding"].toInt());
    max_pool_backward(shape, grad.const_data_ptr<float>(), place.const_data_ptr<std::uint8_t>(),
                      out.mutable_data_ptr<float>());
    return {out, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

std::int64_t pooled_size(std::int64_t size, std::int64_t kernel, std::int64_t stride,
                         std::int64_t padding) {
  return (size + 2 * padding - kernel) / stride + 1;
}

at::Tensor max_pool(const at::Tensor& images, std::int64_t kernel, std::int64_t stride,
                    std::int64_t padding) {
  if (images.dim() != 4 || (images.is_cpu() && images.scalar_type() != at::kFloat) || kernel < 1 ||
      kernel > 16 || stride < 1 || padding > kernel / 2 || images.size(2) + 2 * padding < kernel ||
      images.size(3) + 2 * padding < kernel)
    throw core::InternalError("max pooling needs fp32 pictures that its window fits in");
  if (images.is_cpu()) return MaxPoolFunction::apply(images, kernel, stride, padding);
  if (at::GradMode::is_enabled() && images.requires_grad())
    return max_pool_by_slices(images, kernel, stride, padding);
  return at::max_pool2d(images, {kernel, kernel}, {stride, stride}, {padding, padding});
}

at::Tensor max_pool_by_slices(const at::Tensor& images, std::int64_t kernel, std::int64_t stride,
                              std::int64_t padding) {
  const at::Tensor x =
      at::constant_pad_nd(images.contiguous(kChannelsLast), {padding, padding, padding, padding},
                          -std::numeric_limits<double>::infinity());
  const std::int64_t height = pooled_size(images.size(2), kernel, stride, padding);
  const std::int64_t width = pooled_size(images.size(3), kernel, stride, padding);
  at::Tensor best;
  for (std::int64_t ky = 0; ky < kernel; ++ky)
    for (std::int64_t kx = 0; kx < kernel; ++kx) {
      const at::Tensor each = at::slice(at::slice(x, 2, ky, ky + (height - 1) * stride + 1, stride),
                                        3, kx, kx + (width - 1) * stride + 1, stride);
      best = best.defined() ? at::where(each > best, each, best) : each;
    }
  return best.contiguous(kChannelsLast);
}

}  // namespace retort::nn
