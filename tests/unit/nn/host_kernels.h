// The table of GPU kernels (nn/gpu_kernels.h) on the CPU: the same row functions, blocks and chunks
// one after another. For tests of what is computed with the table.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/ops/from_blob.h>

#include "nn/gpu_kernels.h"
#include "nn/optimiser.h"
#include "tests/unit/nn/host_head_kernels.h"

namespace retort::nn::host_kernels {

inline void row_losses(void*, const LossBatch& batch) {
  std::vector<std::uint32_t> filter(StoredIds::kWords);
  for (std::uint64_t i = 0; i < batch.rows; ++i) {
    const std::uint64_t row = batch.row_list == nullptr ? i : batch.row_list[i];
    LossRow<float> in;
    in.logits = static_cast<const float*>(batch.logits) + row * batch.classes;
    in.classes = batch.classes;
    if (batch.label_begin != nullptr) {
      in.gold = batch.labels + batch.label_begin[row];
      in.gold_count = batch.label_begin[row + 1] - batch.label_begin[row];
    }
    if (batch.settings.target != RowTarget::none) {
      const std::uint64_t begin =
          batch.entry_begin == nullptr ? row * batch.k : batch.entry_begin[row];
      in.k = batch.entry_begin == nullptr
                 ? batch.k
                 : static_cast<std::uint32_t>(batch.entry_begin[row + 1] - begin);
      in.ids = batch.ids + begin;
      in.teacher = batch.teacher + begin;
      in.tail_lse = batch.tail_lse == nullptr ? 0.0f : batch.tail_lse[row];
    }
    in.grad = batch.grad + row * batch.classes;
    HostBlock block(256);
    batch.sums[row] = row_loss(block, batch.settings, in, filter.data());
  }
}

inline void top_k(void*, const TopKBatch& batch) {
  std::vector<TopKScratch> scratch(1);
  for (std::uint64_t row = 0; row < batch.rows; ++row) {
    TopKRow<float> in;
    in.logits = static_cast<const float*>(batch.logits) + row * batch.classes;
    in.classes = batch.classes;
    in.k = batch.k;
    in.inverse_temperatures = batch.inverse_temperatures;
    in.temperatures = batch.temperatures;
    in.ids = batch.ids + row * batch.k;
    in.values = batch.values + row * batch.k;
    in.tail = batch.tail + row * static_cast<std::uint64_t>(batch.temperatures);
    HostBlock block(256);
    batch.finite[row] = RowTopK<HostBlock, float>(block, in, scratch[0]).run() ? 1 : 0;
  }
}

/// Chunks and their fold for one group and one tile of channels, as the kernels launch them.
template <class F>
std::vector<ChannelPair> tile_sums(std::uint64_t rows, int channels, F pair) {
  const std::uint64_t chunks = chunks_of(rows);
  const auto width = static_cast<std::size_t>(channels);
  std::vector<ChannelPair> partial(chunks * width), shared(kMostThreads), out(width);
  HostBlock block(kChannelThreads), fold(kMostThreads);
  for (std::uint64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::uint64_t begin = chunk * kChunkRows;
    channel_sums<float>(
        block, std::min(rows - begin, kChunkRows), channels,
        [&](std::uint64_t row, int c, float& a, float& b) { pair(begin + row, c, a, b); },
        shared.data(), partial.data() + chunk * width);
  }
  channel_sums<double>(
      fold, chunks, channels,
      [&](std::uint64_t chunk, int c, double& a, double& b) {
        a = partial[chunk * width + static_cast<std::size_t>(c)].a;
        b = partial[chunk * width + static_cast<std::size_t>(c)].b;
      },
      shared.data(), out.data());
  return out;
}

/// f(group, first channel, channels of the tile).
template <class F>
void for_tiles(const NormShape& shape, F f) {
  for (std::uint64_t group = 0; group < shape.groups; ++group)
    for (std::uint64_t first = 0; first < shape.channels; first += kChannelTile)
      f(group, first,
        static_cast<int>(std::min<std::uint64_t>(kChannelTile, shape.channels - first)));
}

inline void norm_forward(void*, const NormForward& n) {
  const std::uint64_t rows = n.shape.rows, channels = n.shape.channels;
  for_tiles(n.shape, [&](std::uint64_t group, std::uint64_t first_channel, int tile) {
    const float* x = n.x + group * rows * channels + first_channel;
    const auto sums = tile_sums(rows, tile, [&](std::uint64_t row, int c, float& a, float& b) {
      deviation_pair(x[row * channels + static_cast<std::uint64_t>(c)], x[c], a, b);
    });
    for (int c = 0; c < tile; ++c) {
      const std::uint64_t channel = first_channel + static_cast<std::uint64_t>(c);
      const std::uint64_t at = group * channels + channel;
      const Moments moments = moments_of(sums[static_cast<std::size_t>(c)], x[c], rows);
      const double inverse = 1.0 / std::sqrt(moments.variance + n.shape.epsilon);
      n.mean[at] = static_cast<float>(moments.mean);
      n.inverse[at] = static_cast<float>(inverse);
      n.scale[at] = scale_of(n.gamma[channel], n.beta[channel], moments.mean, inverse);
      const double count = static_cast<double>(rows);
      double* statistics = n.statistics + group * n.statistics_stride + channel;
      statistics[0] += count * moments.mean;
      statistics[channels] += count * (moments.variance + moments.mean * moments.mean);
    }
  });
  for (std::uint64_t i = 0; i < n.shape.groups * rows * channels; ++i) {
    const ScaleShift s = n.scale[i / (rows * channels) * channels + i % channels];
    float v = n.x[i] * s.scale + s.shift;
    if (n.residual != nullptr) v += n.residual[i];
    n.y[i] = n.activation == Activation::relu && v < 0 ? 0 : v;
  }
}

inline void norm_backward(void*, const NormBackward& n) {
  const std::uint64_t rows = n.shape.rows, channels = n.shape.channels;
  const float threshold = n.activation == Activation::relu ? 0.0f : -INFINITY;
  const auto gradient = [&](std::uint64_t i) { return n.y[i] > threshold ? n.grad_output[i] : 0; };
  for_tiles(n.shape, [&](std::uint64_t group, std::uint64_t first_channel, int tile) {
    const std::uint64_t at = group * rows * channels + first_channel;
    const auto sums = tile_sums(rows, tile, [&](std::uint64_t row, int c, float& a, float& b) {
      const std::uint64_t i = at + row * channels + static_cast<std::uint64_t>(c);
      a = gradient(i);
      b = a * (n.x[i] - n.mean[group * channels + first_channel + static_cast<std::uint64_t>(c)]);
    });
    for (int c = 0; c < tile; ++c) {
      const std::uint64_t channel = first_channel + static_cast<std::uint64_t>(c);
      const std::uint64_t index = group * channels + channel;
      n.channel[index] =
          backward_of(sums[static_cast<std::size_t>(c)], n.gamma[channel], n.inverse[index], rows);
    }
  });
  for (std::uint64_t channel = 0; channel < channels; ++channel) {
    n.grad_gamma[channel] = n.grad_beta[channel] = 0;
    for (std::uint64_t group = 0; group < n.shape.groups; ++group) {
      n.grad_gamma[channel] += n.channel[group * channels + channel].gamma_gradient;
      n.grad_beta[channel] += n.channel[group * channels + channel].beta_gradient;
    }
  }
  for (std::uint64_t i = 0; i < n.shape.groups * rows * channels; ++i) {
    const std::uint64_t at = i / (rows * channels) * channels + i % channels;
    const BackwardChannel& c = n.channel[at];
    const float g = gradient(i);
    if (n.residual != nullptr) n.residual[i] = g;
    n.input[i] = c.scale * g + (c.slope * (n.x[i] - n.mean[at]) + c.offset);
  }
}

template <class Value>
void scale_all(const ScaleRows& r) {
  const auto *x = static_cast<const Value*>(r.x), *residual = static_cast<const Value*>(r.residual);
  auto* y = static_cast<Value*>(r.y);
  for (std::uint64_t i = 0; i < r.rows * r.channels; ++i) {
    const ScaleShift s = r.scale[i % r.channels];
    float v = load(x + i) * s.scale + s.shift;
    if (residual != nullptr) v += load(residual + i);
    store(y + i, r.activation == Activation::relu && v < 0 ? 0.0f : v);
  }
}

inline void scale_rows(void*, const ScaleRows& r) {
  for (std::uint64_t c = 0; c < r.channels; ++c)
    r.scale[c] = scale_of(r.gamma[c], r.beta[c], r.mean[c],
                          1.0 / std::sqrt(static_cast<double>(r.variance[c]) + r.epsilon));
  if (r.type == ValueType::bf16)
    scale_all<Bf16>(r);
  else
    scale_all<float>(r);
}

inline void norm(void*, const FlatNorm& n) {
  *n.norm = gradient_norm(at::from_blob(const_cast<float*>(n.gradient),
                                        {static_cast<std::int64_t>(n.size)}, at::kFloat));
}

template <class F>
void for_elements(const FlatStep& flat, F update) {
  const bool clip = flat.clip > 0 && *flat.norm > flat.clip;
  for (std::uint64_t i = 0; i < flat.size; ++i) {
    if (clip) flat.gradient[i] *= static_cast<float>(flat.clip / *flat.norm);
    update(i, flat.parameters[i], flat.gradient[i], flat.decays[i / 16] != 0);
    if (flat.average != nullptr) flat.averaging.apply(flat.average[i], flat.parameters[i]);
  }
}

inline void sgd(void*, const SgdStep& step) {
  for_elements(step.flat, [&](std::uint64_t i, float& p, float g, bool decays) {
    SgdUpdate update = step.update;
    if (!decays) update.decay = 0;
    if (step.momentum == nullptr)
      update.plain(p, g);
    else if (step.nesterov)
      update.nesterov(p, step.momentum[i], g);
    else
      update.heavy(p, step.momentum[i], g);
  });
}

inline void adamw(void*, const AdamWStep& step) {
  for_elements(step.flat, [&](std::uint64_t i, float& p, float g, bool decays) {
    AdamWUpdate update = step.update;
    if (!decays) update.keep = 1;
    update.apply(p, step.first[i], step.second[i], g);
  });
}

inline const GpuKernels& table() {
  static const GpuKernels kKernels{.row_losses = row_losses,
                                   .top_k = top_k,
                                   .norm_forward = norm_forward,
                                   .norm_backward = norm_backward,
                                   .scale_rows = scale_rows,
                                   .norm = norm,
                                   .sgd = sgd,
                                   .adamw = adamw,
                                   .head = head_table()};
  return kKernels;
}

}  // namespace retort::nn::host_kernels
