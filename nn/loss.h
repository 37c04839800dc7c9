// Losses on logits. Each computes value and gradient in one place (the loss is the last node of the
// graph, so no autograd node is made): methods/topk-distillation.md, equations (1), (2), (4) and
// the tail modes. CPU kernels: one thread, rows one after another, running sums in fp64.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/options.h"

namespace retort::nn {

enum class TailMode { residual, uniform, renormalise, renormalise_stored };
enum class SoftScale {
  none,
  inverse_temperature,
  temperature_squared
};  // c(tau) = 1, 1/tau, tau^2

/// Row-major views; T is float or double.
template <class T>
struct HardTargets {
  std::span<const std::uint32_t> label_begin;  // rows + 1
  std::span<const std::uint32_t> labels;       // gold set G of each row, 1/g each
  T smoothing = 0;                             // uniform: (1 - e) * y' + e / N
};
template <class T>
struct SparseTargets {
  std::uint32_t k = 0;
  std::span<const std::uint32_t> ids;  // [rows, k]
  std::span<const T> logits;           // [rows, k] raw teacher logits
  std::span<const T> tail_lse;         // [rows], at the temperature used
};
struct SoftOptions {
  TailMode tail = TailMode::residual;
  SoftScale scale = SoftScale::temperature_squared;
  double temperature = 1;
};

struct LossSums {
  double hard = 0;            // sum over rows of the unweighted hard loss
  double soft = 0;            // sum over rows of the soft loss times c(tau)
  double kl = 0;              // soft minus target entropy, same scale (metric only)
  std::uint64_t correct = 0;  // rows whose first-ranked class is gold
};

/// For `rows` x `classes` logits adds to `grad` (same shape, caller zeroes or passes fresh memory;
/// it is overwritten) the gradient of
///   hard_weight * sum hard + soft_weight * sum soft,
/// weights as the caller wants them (alpha / B_L, (1 - alpha) / B_L). `soft` empty: hard alone.
template <class T>
LossSums loss_and_gradient(std::uint64_t rows, std::uint64_t classes, std::span<const T> logits,
                           const HardTargets<T>* hard, T hard_weight, const SparseTargets<T>* soft,
                           const SoftOptions& options, T soft_weight, std::span<T> grad);

/// The row of stored temperatures to use for `temperature`; UsageError that lists those stored.
std::size_t temperature_index(std::span<const double> stored, double temperature);

}  // namespace retort::nn
