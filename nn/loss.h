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

/// Ragged targets over all classes: class j of a row has background + the sum of the row's excesses
/// of j; a row sums to 1. methods/similarity-labels.md, "Training": excess a_j, background beta.
template <class T>
struct BackgroundTargets {
  std::span<const std::uint64_t> begin;  // rows + 1 offsets into the next two
  std::span<const std::uint32_t> ids;    // may repeat within a row
  std::span<const T> excess;
  std::span<const T> background;  // rows
};

/// Row-major views; T is float or double.
template <class T>
struct HardTargets {
  std::span<const std::uint32_t> label_begin;  // rows + 1
  std::span<const std::uint32_t> labels;       // gold set G of each row, 1/g each
  T smoothing = 0;                             // uniform: (1 - e) * y' + e / N
  // Not null: the targets instead of y'; labels only say what is right.
  const BackgroundTargets<T>* soft_labels = nullptr;
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

/// Ragged targets with any weights on listed classes: the draws of the sampled tail, or the top-H
/// of an unlabelled row.
template <class T>
struct WeightedTargets {
  std::span<const std::uint64_t> begin;  // rows + 1 offsets into the others
  std::span<const std::uint32_t> ids;    // distinct within a row
  std::span<const T> weights;            // finite, >= 0; a row's sum may differ from 1
  // log of the teacher's probability of each id at the temperature used; empty: kl stays 0.
  std::span<const T> log_probability;
};

struct LossSums {
  double hard = 0;            // sum over rows of the unweighted hard loss
  double soft = 0;            // sum over rows of the soft loss times c(tau)
  double kl = 0;              // soft minus target entropy, same scale (metric only)
  double unlabelled = 0;      // sum over unlabelled rows of the unlabelled loss
  std::uint64_t correct = 0;  // rows whose first-ranked class is gold

  LossSums& operator+=(const LossSums& other) {
    hard += other.hard;
    soft += other.soft;
    kl += other.kl;
    unlabelled += other.unlabelled;
    correct += other.correct;
    return *this;
  }
};

/// For `rows` x `classes` logits adds to `grad` (same shape, caller zeroes or passes fresh memory;
/// it is overwritten) the gradient of
///   hard_weight * sum hard + soft_weight * sum soft,
/// weights as the caller wants them (alpha / B_L, (1 - alpha) / B_L). `soft` empty: hard alone.
template <class T>
LossSums loss_and_gradient(std::uint64_t rows, std::uint64_t classes, std::span<const T> logits,
                           const HardTargets<T>* hard, T hard_weight, const SparseTargets<T>* soft,
                           const SoftOptions& options, T soft_weight, std::span<T> grad);

/// The sampled tail mode, with the hard loss fused: overwrites `grad` with the gradient of
///   hard_weight * sum hard + soft_weight * sum soft,  soft = -c(tau) sum_i w_i log q_i(tau),
/// whose gradient on the logits is c/tau (W q_j - w_j), W the row's sum of weights. `hard` nullptr:
/// soft alone. `options.tail` is not looked at. kl = c(tau) sum_i w_i (log p_i - log q_i): with
/// importance weights an unbiased estimate, which may be negative. A row without ids has soft loss
/// 0. DataError for a class that is out of range or listed twice.
template <class T>
LossSums weighted_loss_and_gradient(std::uint64_t rows, std::uint64_t classes,
                                    std::span<const T> logits, const HardTargets<T>* hard,
                                    T hard_weight, const WeightedTargets<T>& soft,
                                    const SoftOptions& options, T soft_weight, std::span<T> grad);

/// Of the unlabelled loss, as weighted targets.
inline constexpr SoftOptions kUnlabelledOptions{.scale = SoftScale::none, .temperature = 1};

/// The unlabelled loss, equation (3): -sum_i w_i log q_i at temperature 1 over the listed ids.
/// Overwrites `grad` with `weight` times its gradient; returns the sum in `unlabelled`.
template <class T>
LossSums unlabelled_loss_and_gradient(std::uint64_t rows, std::uint64_t classes,
                                      std::span<const T> logits, const WeightedTargets<T>& targets,
                                      T weight, std::span<T> grad);

/// What a loss asks of some rows, of any kind.
template <class T>
struct LossTargets {
  std::uint64_t rows = 0;
  const HardTargets<T>* hard = nullptr;
  double hard_weight = 0;  // of a row's hard loss, alpha / B_L
  // At most one of these two: best classes with options.tail, or weights on classes (draws; the
  // best labels of unlabelled rows, with scale none and temperature 1).
  const SparseTargets<T>* best = nullptr;
  const WeightedTargets<T>* weighted = nullptr;
  SoftOptions options{};
  double soft_weight = 0;
};

/// The loss of these rows by the function above that computes their kind, with the weights rounded
/// to T. InternalError for neither hard nor soft targets.
template <class T>
LossSums loss_and_gradient(const LossTargets<T>& targets, std::uint64_t classes,
                           std::span<const T> logits, std::span<T> grad);

/// Weights of an unlabelled row's listed labels: its probabilities scaled to 1, 1/H each, or as
/// they are.
enum class UnlabelledWeights { renormalised, uniform, raw };
/// `probabilities` and `weights`: [rows, h]. DataError for a row whose probabilities sum to 0.
template <class T>
void unlabelled_weights(std::uint32_t h, std::span<const T> probabilities, UnlabelledWeights choice,
                        std::span<T> weights);

/// c(tau).
double scale_factor(SoftScale scale, double temperature);

/// The row of stored temperatures to use for `temperature`; UsageError that lists those stored.
std::size_t temperature_index(std::span<const double> stored, double temperature);

}  // namespace retort::nn
