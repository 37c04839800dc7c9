#include "nn/models/layered_model.h"

#include <algorithm>

#include <ATen/ops/conv2d.h>
#include <ATen/ops/linear.h>

#include "core/error.h"
#include "nn/device_norm.h"
#include "nn/layout.h"
#include "nn/max_pool.h"
#include "nn/prelu.h"
#include "nn/time_convolution.h"

namespace retort::nn {
namespace {

at::Tensor parameter(const Pass& pass, int index) {
  return index < 0 ? at::Tensor() : pass.parameters[static_cast<std::size_t>(index)];
}

/// fp32, its factors in this precision.
at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  Precision precision) {
  if (precision == Precision::fp32) return at::linear(x, weight, bias);
  const auto low = [](const at::Tensor& t) { return t.defined() ? t.to(at::kBFloat16) : t; };
  return at::linear(low(x), low(weight), low(bias)).to(at::kFloat);
}

}  // namespace

LayeredModel::Conv LayeredModel::add_conv(const std::string& name, Extent& extent,
                                          std::int64_t outputs, std::int64_t kernel,
                                          std::int64_t stride) {
  Conv conv;
  conv.stride = stride;
  conv.padding = kernel / 2;
  conv.weight =
      parameters_.add(name + ".weight", {outputs, extent.channels, kernel, kernel},
                      Initialise::kaiming_normal, WeightDecay::yes, outputs * kernel * kernel);
  const auto out = [&](std::int64_t size) {
    return (size + 2 * conv.padding - kernel) / stride + 1;
  };
  const Extent next{outputs, out(extent.height), out(extent.width)};
  const auto weights = static_cast<std::uint64_t>(outputs * extent.channels * kernel * kernel);
  layers_.push_back({name,
                     {next.channels, next.height, next.width},
                     weights,
                     weights * static_cast<std::uint64_t>(next.height * next.width)});
  extent = next;
  return conv;
}

LayeredModel::BatchNorm LayeredModel::add_batch_norm(const std::string& name,
                                                     const Extent& extent) {
  BatchNorm norm;
  const std::int64_t channels = norm.channels = extent.channels;
  norm.gamma =
      parameters_.add(name + ".weight", {channels}, Initialise::ones, WeightDecay::no, channels);
  norm.beta =
      parameters_.add(name + ".bias", {channels}, Initialise::zeros, WeightDecay::no, channels);
  norm.running_mean = buffers_.add(name + ".running_mean", {channels}, Initialise::zeros,
                                   WeightDecay::no, channels);
  norm.running_variance =
      buffers_.add(name + ".running_var", {channels}, Initialise::ones, WeightDecay::no, channels);
  for (const BatchNorm& before : norms_)
    norm.statistics += 2 * static_cast<std::uint64_t>(before.channels);
  const auto n = static_cast<std::uint64_t>(channels);
  layers_.push_back({name,
                     {channels, extent.height, extent.width},
                     2 * n,
                     n * static_cast<std::uint64_t>(extent.height * extent.width)});
  norms_.push_back(norm);
  return norm;
}

LayeredModel::Linear LayeredModel::add_linear(const std::string& name, std::int64_t inputs,
                                              std::int64_t outputs, Bias bias) {
  Linear linear;
  linear.weight = parameters_.add(name + ".weight", {outputs, inputs}, Initialise::uniform_fan_in,
                                  WeightDecay::yes, inputs);
  const auto weights = static_cast<std::uint64_t>(inputs * outputs);
  if (bias == Bias::yes)
    linear.bias = parameters_.add(name + ".bias", {outputs}, Initialise::uniform_fan_in,
                                  WeightDecay::no, inputs);
  const auto biases = bias == Bias::yes ? static_cast<std::uint64_t>(outputs) : 0;
  layers_.push_back({name, {outputs}, weights + biases, weights});
  return linear;
}

LayeredModel::Embedding LayeredModel::add_embedding(const std::string& name, std::int64_t rows,
                                                    std::int64_t dim) {
  Embedding embedding;
  embedding.weight = parameters_.add(name + ".weight", {rows, dim}, Initialise::uniform_fan_in,
                                     WeightDecay::yes, dim);
  // Looked up and added; how often depends on the text.
  layers_.push_back({name, {dim}, static_cast<std::uint64_t>(rows * dim), 0});
  return embedding;
}

LayeredModel::TimeConv LayeredModel::add_time_conv(const std::string& name, std::int64_t dim,
                                                   std::int64_t filters, std::int64_t width) {
  TimeConv conv;
  const std::int64_t fan = width * dim;
  conv.weight = parameters_.add(name + ".weight", {filters, 1, width, dim},
                                Initialise::uniform_fan_in, WeightDecay::yes, fan);
  conv.bias =
      parameters_.add(name + ".bias", {filters}, Initialise::uniform_fan_in, WeightDecay::no, fan);
  const auto weights = static_cast<std::uint64_t>(filters * fan);
  // Once per unit: counted for a text of one.
  layers_.push_back({name, {filters}, weights + static_cast<std::uint64_t>(filters), weights});
  return conv;
}

void LayeredModel::add_head(const std::string& name, std::int64_t inputs, const ModelShape& shape,
                            Bias bias) {
  const Linear head = add_linear(name, inputs, static_cast<std::int64_t>(shape.classes),
                                 shape.logits.cosine() ? Bias::no : bias);
  head_ = {head.weight, head.bias, shape.logits};
  embedding_size_ = inputs;
}

LayeredModel::PRelu LayeredModel::add_prelu(const std::string& name, const Extent& extent) {
  PRelu prelu;
  prelu.slope = parameters_.add(name + ".weight", {extent.channels}, Initialise::quarter,
                                WeightDecay::no, extent.channels);
  layers_.push_back({name,
                     {extent.channels, extent.height, extent.width},
                     static_cast<std::uint64_t>(extent.channels),
                     static_cast<std::uint64_t>(extent.channels * extent.height * extent.width)});
  return prelu;
}

LayeredModel::MaxPool LayeredModel::add_max_pool(const std::string& name, Extent& extent,
                                                 std::int64_t kernel, std::int64_t stride) {
  const MaxPool pool{kernel, stride, kernel / 2};
  extent.height = pooled_size(extent.height, kernel, stride, pool.padding);
  extent.width = pooled_size(extent.width, kernel, stride, pool.padding);
  layers_.push_back({name, {extent.channels, extent.height, extent.width}, 0, 0});
  return pool;
}

void LayeredModel::finish_layers() {
  const auto last = static_cast<int>(parameters_.specs().size()) - 1;
  if (head_.weight >= 0 && std::max(head_.weight, head_.bias) != last)
    throw core::InternalError("a model's head must be added as its last layer");
  statistics_size_ = norms_.size();
  for (const BatchNorm& norm : norms_)
    statistics_size_ += 2 * static_cast<std::uint64_t>(norm.channels);
}

const at::Tensor& LayeredModel::begin(const Input& input, const Pass& pass) const {
  const at::Tensor& pixels = input.pixels;
  if (input.kind() != InputKind::pictures || !pixels.defined() || pixels.dim() != 4 ||
      pixels.scalar_type() != at::kFloat || pixels.size(0) < 1)
    throw core::InternalError("a model needs a non-empty fp32 batch [n, channels, height, width]");
  begin(pass);
  return pixels;
}

void LayeredModel::begin_texts(const Input& input, const Pass& pass) const {
  if (input.kind() != InputKind::text || !input.ids.defined() || input.rows() < 1 ||
      input.ids.dim() != 1 || input.begin.dim() != 1 || input.ids.scalar_type() != at::kLong ||
      input.begin.scalar_type() != at::kLong)
    throw core::InternalError("a model for text needs ids [total] and begin [n + 1], int64");
  begin(pass);
}

void LayeredModel::begin(const Pass& pass) const {
  if (pass.parameters.size() != parameters_.specs().size() ||
      (!pass.training && pass.buffers.size() != buffers_.specs().size()))
    throw core::InternalError("the pass does not hold the tensors of this model");
  if (!pass.training || statistics_size_ == 0) return;
  if (pass.statistics == nullptr)
    throw core::InternalError("a training pass of a model with BatchNorm needs statistics");
  if (pass.statistics->sums.size() != statistics_size_)
    pass.statistics->sums.assign(statistics_size_, 0.0);
}

at::Tensor LayeredModel::forward(const Input& input, Pass& pass) const {
  const at::Tensor x = embed(input, pass);
  if (!head_.logits.cosine()) return apply(Linear{head_.weight, head_.bias}, x, pass);
  return head_.logits.scale *
         linear(unit_rows(x), unit_rows(parameter(pass, head_.weight)), {}, pass.precision);
}

at::Tensor LayeredModel::apply(const Conv& conv, const at::Tensor& x, const Pass& pass) const {
  at::Tensor weight = weight_channels_last(parameter(pass, conv.weight), pass.precision);
  at::Tensor input = x.to(weight.scalar_type());
  const bool widened =
      pass.precision == Precision::bf16 && !input.is_cuda() && !has_bf16_convolutions();
  if (widened) {
    weight = weight.to(at::kFloat);
    input = input.to(at::kFloat);
  }
  std::int64_t stride = conv.stride;
  // oneDNN's AVX2 kernel for the gradient of such a weight writes behind it (LibTorch 2.11.0): the
  // pixels that count are taken out first.
  if (stride > 1 && weight.size(2) == 1 && weight.size(1) % 8 != 0 && !input.is_cuda()) {
    input = input.slice(2, 0, input.size(2), stride).slice(3, 0, input.size(3), stride);
    stride = 1;
  }
  at::Tensor y = at::conv2d(input, weight, {}, stride, conv.padding);
  if (widened) y = y.to(at::kBFloat16);
  // Answers of a GPU stay in bf16 from layer to layer: BatchNorm there takes them as they are.
  return pass.accelerator != nullptr && !pass.training ? y : y.to(at::kFloat);
}

at::Tensor LayeredModel::apply(const Linear& linear, const at::Tensor& x, const Pass& pass) const {
  return nn::linear(x, parameter(pass, linear.weight), parameter(pass, linear.bias),
                    pass.precision);
}

at::Tensor LayeredModel::weight(const Embedding& embedding, const Pass& pass) const {
  return parameter(pass, embedding.weight);
}

at::Tensor LayeredModel::apply(const TimeConv& conv, const at::Tensor& units,
                               const at::Tensor& begin, const Pass& pass) const {
  return time_convolution(units, begin, parameter(pass, conv.weight), parameter(pass, conv.bias));
}

at::Tensor LayeredModel::apply(const BatchNorm& norm, at::Tensor x, const at::Tensor& residual,
                               Activation activation, const Pass& pass, Source source) const {
  const at::Tensor gamma = parameter(pass, norm.gamma), beta = parameter(pass, norm.beta);
  if (!pass.training) {
    const at::Tensor& mean = pass.buffers[static_cast<std::size_t>(norm.running_mean)];
    const at::Tensor& variance = pass.buffers[static_cast<std::size_t>(norm.running_variance)];
    if (pass.accelerator != nullptr)
      return device_norm_evaluate(*pass.accelerator, x, gamma, beta, mean, variance, residual,
                                  activation);
    return batch_norm_evaluate(std::move(x), source, gamma, beta, mean, variance, residual,
                               activation);
  }
  const auto channels = static_cast<std::size_t>(norm.channels);
  const std::int64_t values = x.numel() / x.size(1);
  const auto n = static_cast<double>(values);
  const auto index = static_cast<std::size_t>(
      std::find_if(norms_.begin(), norms_.end(),
                   [&](const BatchNorm& other) { return other.gamma == norm.gamma; }) -
      norms_.begin());
  pass.statistics->sums[statistics_size_ - norms_.size() + index] += n;
  if (pass.accelerator != nullptr)
    return device_norm_train(*pass.accelerator, pass.groups, x, gamma, beta, residual, activation,
                             {pass.statistics->device, norm.statistics});
  std::vector<double> mean(channels), variance(channels);
  at::Tensor y = batch_norm_train(x, gamma, beta, residual, activation, {mean, variance});
  double* sums = pass.statistics->sums.data() + norm.statistics;
  for (std::size_t c = 0; c < channels; ++c) {
    sums[c] += n * mean[c];
    sums[channels + c] += n * (variance[c] + mean[c] * mean[c]);
  }
  return y;
}

at::Tensor LayeredModel::apply(const PRelu& layer, const at::Tensor& x, const Pass& pass) const {
  return channel_prelu(x, parameter(pass, layer.slope));
}

at::Tensor LayeredModel::apply(const MaxPool& pool, const at::Tensor& x) const {
  return max_pool(x, pool.kernel, pool.stride, pool.padding);
}

void LayeredModel::fold_statistics(std::span<const double> sums, at::Tensor& buffers_flat) const {
  if (sums.size() != statistics_size_)
    throw core::InternalError("batch statistics of another model");
  float* data = buffers_flat.data_ptr<float>();
  for (std::size_t i = 0; i < norms_.size(); ++i) {
    const BatchNorm& norm = norms_[i];
    const double n = sums[statistics_size_ - norms_.size() + i];
    if (n < 1) continue;
    const auto channels = static_cast<std::size_t>(norm.channels);
    const double* sum = sums.data() + norm.statistics;
    float* mean = data + buffers_.specs()[static_cast<std::size_t>(norm.running_mean)].offset;
    float* variance =
        data + buffers_.specs()[static_cast<std::size_t>(norm.running_variance)].offset;
    for (std::size_t c = 0; c < channels; ++c) {
      const double batch_mean = sum[c] / n;
      double batch_variance = std::max(0.0, sum[channels + c] / n - batch_mean * batch_mean);
      if (n > 1) batch_variance *= n / (n - 1);
      mean[c] =
          static_cast<float>((1 - kBatchNormMomentum) * mean[c] + kBatchNormMomentum * batch_mean);
      variance[c] = static_cast<float>((1 - kBatchNormMomentum) * variance[c] +
                                       kBatchNormMomentum * batch_variance);
    }
  }
}

}  // namespace retort::nn
