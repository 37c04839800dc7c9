// The weights of some of a head's classes, a row each (nn/class_head/device_head.h), by one block
// of threads a row: as factors of products; an optimiser's step.
#pragma once

#include "nn/kernels/flat_update.h"

namespace retort::nn {

/// Rows of a matrix: those at `places`, or from `from` on.
struct ClassPlaces {
  std::uint64_t count = 0;
  const std::int64_t* places = nullptr;
  std::uint64_t from = 0;
  RETORT_DEVICE std::uint64_t at(std::uint64_t i) const {
    return places == nullptr ? from + i : static_cast<std::uint64_t>(places[i]);
  }
};

/// What a product's factor is made of: bf16 numbers, or three times as many TF32 numbers, whose
/// products on tensor cores add up to those of fp32 numbers (split() below).
enum class FactorKind { bf16, split };

/// To the nearest number of TF32's 11 bits, ties to even; NaN stays NaN.
RETORT_DEVICE inline float to_tf32(float value) {
  std::uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return value;
  bits = (bits + 0xfffU + ((bits >> 13) & 1U)) & ~0x1fffU;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
/// x = high + low up to 2^-24 of x. Of a product of two such numbers high high + high low + low
/// high is summed: low low is as small as what rounding takes.
struct Split {
  float high = 0, low = 0;
};
RETORT_DEVICE inline Split split(float x) {
  const float high = to_tf32(x);
  return {high, to_tf32(x - high)};
}

struct ClassFactors {
  FactorKind kind = FactorKind::split;
  ClassPlaces classes;
  std::uint64_t features = 0;
  const float* weight = nullptr;  // [own classes, features]
  const float* bias = nullptr;    // [own classes], or null
  /// bf16: [padded, features]; split: [padded, 3 features], a row's high, low, high parts. Zeros
  /// behind the classes.
  void* factor = nullptr;
  std::uint64_t padded = 0;
  float* offset = nullptr;         // [classes]: the bias; null: not wanted
  double* inverse_norm = nullptr;  // [classes]: of the row's length; null: not wanted
  float* scale = nullptr;          // [classes]: scale_by * inverse_norm
  double scale_by = 1, least_length = 0;

  RETORT_DEVICE void put(std::uint64_t i, std::uint64_t feature, float value) const {
    if (kind == FactorKind::bf16) {
      store(static_cast<Bf16*>(factor) + i * features + feature, value);
      return;
    }
    float* row = static_cast<float*>(factor) + i * 3 * features + feature;
    const Split parts = split(value);
    row[0] = row[2 * features] = parts.high;
    row[features] = parts.low;
  }
};

/// sum over a row of f(feature), the same on all threads.
template <class Block, class F>
RETORT_DEVICE double row_sum(Block& block, std::uint64_t features, F f) {
  return block.template reduce<double>(
      [&](int thread) {
        double sum = 0;
        for (std::uint64_t i = static_cast<std::uint64_t>(thread); i < features;
             i += static_cast<std::uint64_t>(block.threads()))
          sum += f(i);
        return sum;
      },
      [](double a, double b) { return a + b; });
}

template <class Block>
RETORT_DEVICE void class_factor(Block& block, const ClassFactors& to, std::uint64_t i) {
  if (i >= to.classes.count) {
    block.stride(to.features, [&](std::uint64_t f) { to.put(i, f, 0.0f); });
    return;
  }
  const std::uint64_t place = to.classes.at(i);
  const float* row = to.weight + place * to.features;
  if (to.inverse_norm != nullptr) {
    const double square = row_sum(block, to.features, [&](std::uint64_t f) {
      return static_cast<double>(row[f]) * static_cast<double>(row[f]);
    });
    const double length = sqrt(square);
    // Not max(): a length that is no number has to stay none.
    const double inverse = 1.0 / (length < to.least_length ? to.least_length : length);
    block.each([&](int thread) {
      if (thread != 0) return;
      to.inverse_norm[i] = inverse;
      to.scale[i] = static_cast<float>(inverse * to.scale_by);
    });
  }
  if (to.offset != nullptr)
    block.each([&](int thread) {
      if (thread == 0) to.offset[i] = to.bias[place];
    });
  block.stride(to.features, [&](std::uint64_t f) { to.put(i, f, row[f]); });
}

/// An optimiser's step (nn/optimiser.h) of some rows: of weights, or of biases with one feature.
struct ClassStep {
  ClassPlaces classes;
  std::uint64_t features = 0;
  const float* gradient = nullptr;  // [classes, features]
  /// [classes]: of the weights' lengths, if the part of the gradient along a weight has to be taken
  /// out of it first; or null.
  const double* inverse_norm = nullptr;
  float factor = 1;             // of the gradient
  double* squares = nullptr;    // [classes]: of the gradient's length, before the factor; or null
  float* parameters = nullptr;  // [own classes, features], as all below
  float* average = nullptr;     // or null
  AverageUpdate averaging;
};
struct SgdClassStep {
  ClassStep rows;
  SgdUpdate update;
  bool nesterov = false;
  float* momentum = nullptr;  // or null

  RETORT_DEVICE void apply(float& p, std::uint64_t at, float g) const {
    if (momentum == nullptr)
      update.plain(p, g);
    else if (nesterov)
      update.nesterov(p, momentum[at], g);
    else
      update.heavy(p, momentum[at], g);
  }
};
struct AdamWClassStep {
  ClassStep rows;
  AdamWUpdate update;
  float* first = nullptr;
  float* second = nullptr;

  RETORT_DEVICE void apply(float& p, std::uint64_t at, float g) const {
    update.apply(p, first[at], second[at], g);
  }
};

/// The gradient of a row without what it has along the row's weight, where that counts for nothing.
struct ClassGradient {
  const float* gradient = nullptr;
  const float* parameters = nullptr;
  float share = 0;
  bool projected = false;
  RETORT_DEVICE float operator()(std::uint64_t f) const {
    return projected ? gradient[f] - share * parameters[f] : gradient[f];
  }
};
template <class Block>
RETORT_DEVICE ClassGradient class_gradient(Block& block, const ClassStep& rows, std::uint64_t i) {
  ClassGradient own{rows.gradient + i * rows.features,
                    rows.parameters + rows.classes.at(i) * rows.features, 0,
                    rows.inverse_norm != nullptr};
  if (!own.projected) return own;
  const double inverse = rows.inverse_norm[i];
  const double along = row_sum(block, rows.features, [&](std::uint64_t f) {
    return static_cast<double>(own.parameters[f]) * static_cast<double>(own.gradient[f]);
  });
  own.share = static_cast<float>(along * inverse * inverse);
  return own;
}
template <class Block>
RETORT_DEVICE void put_square(Block& block, const ClassStep& rows, const ClassGradient& own,
                              std::uint64_t i) {
  const double square = row_sum(block, rows.features, [&](std::uint64_t f) {
    return static_cast<double>(own(f)) * static_cast<double>(own(f));
  });
  block.each([&](int thread) {
    if (thread == 0) rows.squares[i] = square;
  });
}

/// ClassStep::squares of the row number i alone, by one block of threads: nothing is stepped.
template <class Block>
RETORT_DEVICE void square_class(Block& block, const ClassStep& rows, std::uint64_t i) {
  put_square(block, rows, class_gradient(block, rows, i), i);
}
RETORT_DEVICE inline void square_number(const ClassStep& rows, std::uint64_t i) {
  rows.squares[i] = static_cast<double>(rows.gradient[i]) * static_cast<double>(rows.gradient[i]);
}

/// The row number i, by one block of threads.
template <class Block, class Step>
RETORT_DEVICE void step_class(Block& block, const Step& step, std::uint64_t i) {
  const ClassStep& rows = step.rows;
  const std::uint64_t at = rows.classes.at(i) * rows.features;
  float* parameters = rows.parameters + at;
  const ClassGradient own = class_gradient(block, rows, i);
  if (rows.squares != nullptr) put_square(block, rows, own, i);
  block.stride(rows.features, [&](std::uint64_t f) {
    float g = own(f);
    if (rows.factor != 1) g *= rows.factor;
    float p = parameters[f];
    step.apply(p, at + f, g);
    parameters[f] = p;
    if (rows.average != nullptr) rows.averaging.apply(rows.average[at + f], p);
  });
}

/// The same for rows of one feature: biases.
template <class Step>
RETORT_DEVICE void step_number(const Step& step, std::uint64_t i) {
  const ClassStep& rows = step.rows;
  const std::uint64_t at = rows.classes.at(i);
  float g = rows.gradient[i];
  if (rows.squares != nullptr) square_number(rows, i);
  if (rows.factor != 1) g *= rows.factor;
  float p = rows.parameters[at];
  step.apply(p, at, g);
  rows.parameters[at] = p;
  if (rows.average != nullptr) rows.averaging.apply(rows.average[at], p);
}

}  // namespace retort::nn
