#include "nn/class_head/tile_pass.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "nn/kernels/fast_exp.h"

namespace retort::nn {

namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
/// Exponentials that are added in fp32 before the sum goes on in fp64.
constexpr std::int64_t kGroup = 16;

/// Classes whose weights and logits of a block of rows stay in the cache together: a multiple of
/// kGroup, so that where groups end does not depend on it.
std::uint64_t chunk_of(std::int64_t features) {
  constexpr std::int64_t kNumbers = 131072, kMost = 256, kLeast = 32;
  return static_cast<std::uint64_t>(
      std::clamp(kNumbers / features / kGroup * kGroup, kLeast, kMost));
}

}  // namespace

struct TilePass::Chunk {
  std::uint64_t begin = 0, count = 0;  // within the tile
  const float* weight = nullptr;
  std::int64_t row = 0;
  std::span<const std::uint32_t> ids{};
  std::int64_t rows() const { return static_cast<std::int64_t>(count); }
};

/// Element (class of the chunk, row of the block) is data[class * row + row of the block].
struct TilePass::Logits {
  float* data = nullptr;
  std::int64_t row = 0;
  float& at(std::int64_t k, std::int64_t g) const { return data[k * row + g]; }
  float* of_class(std::int64_t k) const { return data + k * row; }
};

std::int64_t TilePass::kept_row(const HeadRows& rows) {
  return rows.blocks() * padded_row(std::min(HeadRows::kBlock, rows.rows()));
}

TilePass::TilePass(const HeadForm& form, const HeadRows& rows)
    : form_(form),
      rows_(rows),
      features_(rows.features()),
      row_(padded_row(features_)),
      z_row_(padded_row(std::min(HeadRows::kBlock, rows.rows()))),
      chunk_classes_(chunk_of(features_)),
      logits_(chunk_classes_ * static_cast<std::uint64_t>(z_row_)),
      weights_(chunk_classes_ * static_cast<std::uint64_t>(row_)),
      gradient_(chunk_classes_ * static_cast<std::uint64_t>(row_)),
      ids_(chunk_classes_),
      scale_(chunk_classes_, 1.0f),
      offset_(chunk_classes_),
      inverse_norm_(chunk_classes_),
      bias_gradient_(chunk_classes_),
      lane_highest_(static_cast<std::uint64_t>(z_row_)),
      lane_shift_(static_cast<std::uint64_t>(z_row_)),
      lane_sum_(static_cast<std::uint64_t>(z_row_)),
      lane_soft_(static_cast<std::uint64_t>(z_row_)) {
  for (auto& factor : lane_factor_) factor = Aligned<float>(static_cast<std::uint64_t>(z_row_));
}

TilePass::Chunk TilePass::open(const HeadWeights& weights, const TileClasses& classes,
                               std::uint64_t begin) {
  Chunk chunk{.begin = begin, .count = std::min(chunk_classes_, classes.size() - begin)};
  for (std::uint64_t i = 0; i < chunk.count; ++i) ids_[i] = classes.id(begin + i);
  chunk.ids = std::span(ids_).first(chunk.count);
  const auto features = static_cast<std::uint64_t>(features_);
  if (classes.all() && form_.precision == Precision::fp32) {
    chunk.weight = weights.weight + (chunk.ids.front() - weights.first_class) * features;
    chunk.row = features_;
  } else {
    for (std::uint64_t i = 0; i < chunk.count; ++i)
      std::copy_n(weights.weight + (chunk.ids[i] - weights.first_class) * features, features,
                  weights_.data() + static_cast<std::int64_t>(i) * row_);
    chunk.weight = weights_.data();
    chunk.row = row_;
  }
  for (std::uint64_t i = 0; i < chunk.count; ++i) {
    const float* weight = chunk.weight + static_cast<std::int64_t>(i) * chunk.row;
    if (form_.normalised) {
      double lanes[8] = {};
      std::uint64_t n = 0;
      for (; n + 8 <= features; n += 8)
        for (std::uint64_t l = 0; l < 8; ++l)
          lanes[l] += static_cast<double>(weight[n + l]) * static_cast<double>(weight[n + l]);
      for (; n < features; ++n)
        lanes[n % 8] += static_cast<double>(weight[n]) * static_cast<double>(weight[n]);
      double square = 0;
      for (const double lane : lanes) square += lane;
      // As torch's normalize: a norm below 1e-12 counts as 1e-12.
      const double inverse = 1 / std::max(std::sqrt(square), 1e-12);
      inverse_norm_[i] = static_cast<float>(inverse);
      scale_[i] = static_cast<float>(form_.scale * inverse);
    }
    offset_[i] = weights.bias == nullptr ? 0.0f : weights.bias[chunk.ids[i] - weights.first_class];
  }
  // Norms are those of the weights as they are; the factors of products are rounded.
  if (form_.precision == Precision::bf16)
    for (std::uint64_t i = 0; i < chunk.count; ++i)
      round_to_bf16({weights_.data() + static_cast<std::int64_t>(i) * row_, features});
  return chunk;
}

TilePass::Logits TilePass::place(const Chunk& chunk, std::int64_t block, const KeptLogits& kept) {
  if (kept.data == nullptr) return {logits_.data(), z_row_};
  return {kept.data + static_cast<std::int64_t>(chunk.begin) * kept.row + block * z_row_, kept.row};
}

void TilePass::compute(const Chunk& chunk, const HeadRows::Block& block, const Logits& z) {
  product({chunk.rows(), block.rows, features_}, {chunk.weight, chunk.row, 1}, block.by_feature,
          {z.data, z.row}, ProductStart::zero);
  for (std::int64_t k = 0; k < chunk.rows(); ++k) {
    float* of_class = z.of_class(k);
    const auto at = static_cast<std::size_t>(k);
    if (form_.normalised) {
      for (std::int64_t g = 0; g < block.rows; ++g) of_class[g] *= scale_[at];
    } else if (offset_[at] != 0) {
      for (std::int64_t g = 0; g < block.rows; ++g) of_class[g] += offset_[at];
    }
  }
}

namespace {

/// The entries of a run of classes; both ascend.
std::span<const ListedByClass::Entry> entries_of(std::span<const ListedByClass::Entry> listed,
                                                 std::span<const std::uint32_t> ids) {
  const auto first = std::lower_bound(listed.begin(), listed.end(), ids.front(),
                                      [](const auto& entry, auto id) { return entry.id < id; });
  const auto last = std::upper_bound(first, listed.end(), ids.back(),
                                     [](auto id, const auto& entry) { return id < entry.id; });
  return {first, last};
}

/// Calls use(entry, class of the chunk, row of the block) for those of a block of rows.
template <class Use>
void for_each(std::span<const ListedByClass::Entry> listed, std::span<const std::uint32_t> ids,
              const HeadRows::Block& block, const Use& use) {
  std::size_t k = 0;
  for (const ListedByClass::Entry& entry : entries_of(listed, ids)) {
    while (ids[k] < entry.id) ++k;
    const std::int64_t row = static_cast<std::int64_t>(entry.row) - block.first;
    if (ids[k] == entry.id && row >= 0 && row < block.rows)
      use(entry, static_cast<std::int64_t>(k), row);
  }
}

}  // namespace

void TilePass::sums(const HeadWeights& weights, const TileClasses& classes,
                    std::span<const ListedByClass::Entry> listed, double soft_temperature,
                    const TileSums& sums, std::span<double> logits_of_listed,
                    const KeptLogits& kept) {
  std::fill(sums.highest.begin(), sums.highest.end(), kMinusInfinity);
  std::fill(sums.first.begin(), sums.first.end(), 0u);
  std::fill(sums.exp_sum.begin(), sums.exp_sum.end(), 0.0);
  std::fill(sums.soft_exp_sum.begin(), sums.soft_exp_sum.end(), 0.0);
  std::fill(sums.total.begin(), sums.total.end(), 0.0);
  const bool totals = !sums.total.empty();
  for (std::uint64_t begin = 0; begin < classes.size(); begin += chunk_classes_) {
    const Chunk chunk = open(weights, classes, begin);
    for (std::int64_t b = 0; b < rows_.blocks(); ++b) {
      const HeadRows::Block block = rows_.block(b);
      const Logits z = place(chunk, b, kept);
      compute(chunk, block, z);
      for_each(listed, chunk.ids, block, [&](const auto& entry, auto k, auto g) {
        logits_of_listed[entry.place] = static_cast<double>(z.at(k, g));
        z.at(k, g) = totals ? 0.0f : kMinusInfinity;
      });
      if (totals) {
        double* total = sums.total.data() + block.first;
        for (std::int64_t k = 0; k < chunk.rows(); ++k)
          for (std::int64_t g = 0; g < block.rows; ++g) total[g] += static_cast<double>(z.at(k, g));
        for_each(listed, chunk.ids, block,
                 [&](const auto&, auto k, auto g) { z.at(k, g) = kMinusInfinity; });
      }
      add_sums(chunk, block, z, sums, soft_temperature);
    }
  }
}

template <class Use>
void TilePass::for_each_block(const HeadWeights& weights, const TileClasses& classes,
                              const Use& use) {
  const Logits z{logits_.data(), z_row_};
  for (std::uint64_t begin = 0; begin < classes.size(); begin += chunk_classes_) {
    const Chunk chunk = open(weights, classes, begin);
    for (std::int64_t b = 0; b < rows_.blocks(); ++b) {
      const HeadRows::Block block = rows_.block(b);
      compute(chunk, block, z);
      use(chunk, block, z);
    }
  }
}

void TilePass::best(const HeadWeights& weights, const TileClasses& classes, std::uint64_t k,
                    std::span<std::uint64_t> best) {
  for_each_block(weights, classes, [&](const Chunk& chunk, const auto& block, const Logits& z) {
    const auto heap = [&](std::int64_t g) {
      return best.subspan(static_cast<std::uint64_t>(block.first + g) * k, k);
    };
    float* lowest = lane_highest_.data();  // logits below it cannot come in
    const auto lowest_of = [](std::span<const std::uint64_t> keys) {
      return keys[0] == 0 ? kMinusInfinity : HighestLogit::of_key(keys[0]).logit;
    };
    for (std::int64_t g = 0; g < block.rows; ++g) lowest[g] = lowest_of(heap(g));
    for (std::int64_t c = 0; c < chunk.rows(); ++c) {
      const float* of_class = z.of_class(c);
      for (std::int64_t g = 0; g < block.rows; ++g) {
        if (!(of_class[g] >= lowest[g])) continue;
        const std::uint64_t key =
            HighestLogit{of_class[g], chunk.ids[static_cast<std::size_t>(c)]}.key();
        keep_largest(heap(g), {&key, 1});
        lowest[g] = lowest_of(heap(g));
      }
    }
  });
}

void TilePass::count_before(const HeadWeights& weights, const TileClasses& classes,
                            std::span<const ListedByClass::Entry> listed,
                            std::span<const HighestLogit> than, std::span<std::uint64_t> counts) {
  for_each_block(weights, classes, [&](const Chunk& chunk, const auto& block, const Logits& z) {
    for_each(listed, chunk.ids, block,
             [&](const auto&, auto k, auto g) { z.at(k, g) = kMinusInfinity; });
    const HighestLogit* limit = than.data() + block.first;
    std::uint64_t* count = counts.data() + block.first;
    for (std::int64_t k = 0; k < chunk.rows(); ++k) {
      const float* of_class = z.of_class(k);
      const std::uint32_t id = chunk.ids[static_cast<std::size_t>(k)];
      for (std::int64_t g = 0; g < block.rows; ++g)
        count[g] += of_class[g] > limit[g].logit ||
                            (of_class[g] == limit[g].logit && id < limit[g].class_id)
                        ? 1
                        : 0;
    }
  });
}

void TilePass::add_sums(const Chunk& chunk, const HeadRows::Block& block, const Logits& z,
                        const TileSums& sums, double soft_temperature) {
  const std::int64_t rows = block.rows;
  float* highest = lane_highest_.data();
  std::fill_n(highest, rows, kMinusInfinity);
  for (std::int64_t k = 0; k < chunk.rows(); ++k) {
    const float* of_class = z.of_class(k);
    for (std::int64_t g = 0; g < rows; ++g)
      highest[g] = of_class[g] > highest[g] ? of_class[g] : highest[g];
  }
  const bool soft = !sums.soft_exp_sum.empty();
  for (std::int64_t g = 0; g < rows; ++g) {
    const auto row = static_cast<std::size_t>(block.first + g);
    if (highest[g] > sums.highest[row]) {
      std::int64_t k = 0;
      while (z.at(k, g) != highest[g]) ++k;
      sums.first[row] = chunk.ids[static_cast<std::size_t>(k)];
      const double rise = static_cast<double>(sums.highest[row]) - static_cast<double>(highest[g]);
      sums.exp_sum[row] *= std::exp(rise);
      if (soft) sums.soft_exp_sum[row] *= std::exp(rise / soft_temperature);
      sums.highest[row] = highest[g];
    }
    // -inf where all classes so far are listed: exp(-inf - 0) = 0.
    lane_shift_[static_cast<std::uint64_t>(g)] =
        sums.highest[row] == kMinusInfinity ? 0.0f : sums.highest[row];
  }
  const float* shift = lane_shift_.data();
  float* sum = lane_sum_.data();
  const auto inverse = static_cast<float>(1 / soft_temperature);
  const auto add_lanes_to = [&](std::span<double> sums_of_rows) {
    double* to = sums_of_rows.data() + block.first;
    for (std::int64_t g = 0; g < rows; ++g) to[g] += static_cast<double>(sum[g]);
  };
  for (std::int64_t begin = 0; begin < chunk.rows(); begin += kGroup) {
    const std::int64_t end = std::min(chunk.rows(), begin + kGroup);
    std::fill_n(sum, rows, 0.0f);
    for (std::int64_t k = begin; k < end; ++k) {
      const float* of_class = z.of_class(k);
      for (std::int64_t g = 0; g < rows; ++g) sum[g] += fast_exp(of_class[g] - shift[g]);
    }
    add_lanes_to(sums.exp_sum);
    if (!soft) continue;
    std::fill_n(sum, rows, 0.0f);
    for (std::int64_t k = begin; k < end; ++k) {
      const float* of_class = z.of_class(k);
      for (std::int64_t g = 0; g < rows; ++g)
        sum[g] += fast_exp((of_class[g] - shift[g]) * inverse);
    }
    add_lanes_to(sums.soft_exp_sum);
  }
}

// From `z`, which stays as it is unless it is logits_, to logits_.
void TilePass::to_gradients(const Chunk& chunk, const HeadRows::Block& block, const Logits& z,
                            const Gradients& gradients) {
  float *reference = lane_shift_.data(), *hard = lane_factor_[0].data(),
        *soft = lane_factor_[1].data(), *constant = lane_factor_[2].data();
  bool any_soft = false;
  for (std::int64_t g = 0; g < block.rows; ++g) {
    const UnlistedGradient& row = gradients.dense[static_cast<std::size_t>(block.first + g)];
    reference[g] = row.reference;
    hard[g] = row.hard;
    soft[g] = row.soft;
    constant[g] = row.constant;
    any_soft |= row.soft != 0;
  }
  const auto inverse = static_cast<float>(1 / gradients.soft_temperature);
  for (std::int64_t k = 0; k < chunk.rows(); ++k) {
    const float* of_class = z.of_class(k);
    float* to = logits_.data() + k * z_row_;
    if (any_soft) {
#pragma GCC ivdep
      for (std::int64_t g = 0; g < block.rows; ++g) {
        const float below = of_class[g] - reference[g];
        to[g] = (hard[g] * fast_exp(below) + soft[g] * fast_exp(below * inverse)) - constant[g];
      }
    } else {
#pragma GCC ivdep
      for (std::int64_t g = 0; g < block.rows; ++g)
        to[g] = hard[g] * fast_exp(of_class[g] - reference[g]) - constant[g];
    }
  }
}

// The gradient along a weight changes nothing where only its direction counts.
void TilePass::project(const Chunk& chunk) {
  for (std::int64_t k = 0; k < chunk.rows(); ++k) {
    const float* weight = chunk.weight + k * chunk.row;
    float* gradient = gradient_.data() + k * row_;
    double along = 0;
    for (std::int64_t n = 0; n < features_; ++n)
      along += static_cast<double>(weight[n]) * static_cast<double>(gradient[n]);
    const auto inverse = static_cast<double>(inverse_norm_[static_cast<std::size_t>(k)]);
    const auto share = static_cast<float>(along * inverse * inverse);
    for (std::int64_t n = 0; n < features_; ++n) gradient[n] -= share * weight[n];
  }
}

void TilePass::gradients(const HeadWeights& weights, const TileClasses& classes,
                         std::span<const ListedByClass::Entry> listed, const Gradients& gradients,
                         std::span<float> embeddings, const TakeGradients& take,
                         const KeptLogits& kept, const WeightGradients& added) {
  if (added.weight != nullptr && (form_.normalised || !classes.all()))
    throw core::InternalError("a head adds gradients of plain weights alone");
  if (classes.size() == 0) std::fill(embeddings.begin(), embeddings.end(), 0.0f);
  for (std::uint64_t begin = 0; begin < classes.size(); begin += chunk_classes_) {
    const Chunk chunk = open(weights, classes, begin);
    std::fill(bias_gradient_.begin(), bias_gradient_.end(), 0.0f);
    const ProductResult result =
        added.weight == nullptr
            ? ProductResult{gradient_.data(), row_}
            : ProductResult{added.weight + static_cast<std::int64_t>(begin) * features_, features_};
    for (std::int64_t b = 0; b < rows_.blocks(); ++b) {
      const HeadRows::Block block = rows_.block(b);
      const Logits logits = place(chunk, b, kept);
      if (kept.data == nullptr) compute(chunk, block, logits);
      to_gradients(chunk, block, logits, gradients);
      const Logits z{logits_.data(), z_row_};
      for_each(listed, chunk.ids, block, [&](const auto& entry, auto k, auto g) {
        z.at(k, g) = gradients.listed[entry.place];
      });
      for (std::uint64_t k = 0; k < chunk.count; ++k) {
        float* of_class = z.of_class(static_cast<std::int64_t>(k));
        if (form_.normalised) {
          for (std::int64_t g = 0; g < block.rows; ++g) of_class[g] *= scale_[k];
        } else if (weights.bias != nullptr) {
          double sum = 0;
          for (std::int64_t g = 0; g < block.rows; ++g) sum += static_cast<double>(of_class[g]);
          bias_gradient_[k] += static_cast<float>(sum);
        }
        if (form_.precision == Precision::bf16)
          round_to_bf16({of_class, static_cast<std::size_t>(block.rows)});
      }
      product({chunk.rows(), features_, block.rows}, {z.data, z.row, 1}, block.by_row, result,
              b > 0 ? ProductStart::result : added.start);
      if (!embeddings.empty())
        product({block.rows, features_, chunk.rows()}, {z.data, 1, z.row},
                {chunk.weight, chunk.row}, {embeddings.data() + block.first * features_, features_},
                begin == 0 ? ProductStart::zero : ProductStart::result);
    }
    if (form_.normalised) project(chunk);
    if (added.weight == nullptr) {
      take({chunk.ids, gradient_.data(), row_,
            weights.bias == nullptr ? nullptr : bias_gradient_.data()});
    } else if (added.bias != nullptr) {
      for (std::uint64_t k = 0; k < chunk.count; ++k) {
        float& bias = added.bias[begin + k];
        bias = added.start == ProductStart::zero ? bias_gradient_[k] : bias + bias_gradient_[k];
      }
    }
  }
}

}  // namespace retort::nn
