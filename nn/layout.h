// Channels-last layout (rows of pixels, channels innermost), in which convolutions and BatchNorm
// run fastest, and what moves between it and the plain layout of parameters and vectors. Nodes of
// their own, because ATen's strided copies of such small tensors cost more than the small
// convolutions.
#pragma once

#include <ATen/core/Tensor.h>

#include "nn/precision.h"

namespace retort::nn {

/// images [n, channels, height, width] in channels-last order; exact also for one channel, where
/// the same memory is only given other strides. Not differentiable for one channel.
at::Tensor channels_last(const at::Tensor& images);

/// A convolution's fp32 weight [outputs, inputs, height, width] in channels-last, rounded to
/// `precision`: a copy, unless it is laid out and rounded so already. Differentiable; the gradient
/// comes out contiguous, in fp32.
at::Tensor weight_channels_last(const at::Tensor& weight, Precision precision);
/// A parameter of any shape; one that can be a weight of pictures' convolutions in channels-last,
/// so that a model which only answers lays it out once.
at::Tensor as_read_by_convolutions(const at::Tensor& parameter);

/// [n, channels, height, width] -> [n, channels], the mean over pixels, sums in fp32 over one row
/// of pixels after another (on a GPU and of bf16: in an order of ATen's). Differentiable; the
/// gradient comes out channels-last.
at::Tensor average_pool(const at::Tensor& images);

}  // namespace retort::nn
