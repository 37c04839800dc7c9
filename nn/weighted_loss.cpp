// Losses against weights on a few listed classes: the sampled tail mode and the unlabelled term.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/error.h"
#include "nn/kernels/hard_term.h"
#include "nn/kernels/row_ops.h"
#include "nn/loss.h"

namespace retort::nn {
namespace {

/// Value and gradient of one row's weighted loss at one temperature.
template <class T>
class WeightedRow {
 public:
  WeightedRow(std::uint64_t classes, const WeightedTargets<T>& targets, double temperature,
              double scale, T weight)
      : n_(classes),
        targets_(targets),
        temperature_(temperature),
        scale_(scale),
        weight_(static_cast<double>(weight) * scale / temperature),
        listed_(classes) {}

  // grad = exp of the row at the temperature, and its log-sum-exp; value() and gradient() follow.
  void open(const T* logits, T* grad) {
    const T highest = row_max(logits, n_);
    sum_ = row_exp(logits, n_, highest, static_cast<T>(1 / temperature_), grad);
    log_all_ = static_cast<double>(highest) / temperature_ + std::log(sum_);
    highest_ = static_cast<double>(highest);
  }
  double log_all() const { return log_all_; }
  double highest() const { return highest_; }

  void add_value(std::uint64_t row, const T* logits, double& loss, double& kl) {
    mass_ = 0;
    check(row);
    for (std::uint64_t i = targets_.begin[row]; i < targets_.begin[row + 1]; ++i) {
      const double w = static_cast<double>(targets_.weights[i]);
      mass_ += w;
      if (w == 0) continue;  // 0 * log 0 is 0
      const double log_q = static_cast<double>(logits[targets_.ids[i]]) / temperature_ - log_all_;
      loss -= scale_ * w * log_q;
      if (!targets_.log_probability.empty())
        kl += scale_ * w * (static_cast<double>(targets_.log_probability[i]) - log_q);
    }
  }
  /// Factor that turns the exponentials in grad into this loss's dense part.
  double dense_factor() const { return weight_ * mass_ / sum_; }
  /// Factor that turns them into `weight` times the softmax at this temperature.
  double softmax_factor(double weight) const { return weight / sum_; }

  void subtract_weights(std::uint64_t row, T* grad) const {
    for (std::uint64_t i = targets_.begin[row]; i < targets_.begin[row + 1]; ++i) {
      T& value = grad[targets_.ids[i]];
      value = static_cast<T>(static_cast<double>(value) -
                             weight_ * static_cast<double>(targets_.weights[i]));
    }
  }

 private:
  void check(std::uint64_t row) {
    const auto refuse = [row](std::uint32_t id, const std::string& what) {
      throw core::DataError(row_of_micro_shard(row) + "stores class " + std::to_string(id) + what);
    };
    for (std::uint64_t i = targets_.begin[row]; i < targets_.begin[row + 1]; ++i) {
      const std::uint32_t id = targets_.ids[i];
      if (id >= n_) refuse(id, " but the model has " + std::to_string(n_) + " classes");
      if (listed_[id] == row + 1) refuse(id, " twice: check the logits");
      listed_[id] = row + 1;
    }
  }

  std::uint64_t n_;
  const WeightedTargets<T>& targets_;
  double temperature_, scale_, weight_;
  double sum_ = 0, log_all_ = 0, highest_ = 0, mass_ = 0;
  std::vector<std::uint64_t> listed_;  // 1 + the row that listed a class last
};

template <class T>
void check_spans(std::uint64_t rows, std::uint64_t classes, std::span<const T> logits,
                 std::span<T> grad, const WeightedTargets<T>& targets) {
  if (logits.size() != rows * classes || grad.size() != logits.size())
    throw core::InternalError("loss: logits or gradient are not rows x classes");
  if (targets.begin.size() != rows + 1 || targets.begin.back() != targets.ids.size() ||
      targets.weights.size() != targets.ids.size() ||
      (!targets.log_probability.empty() && targets.log_probability.size() != targets.ids.size()))
    throw core::InternalError("loss: weighted targets of another number of rows");
}

}  // namespace

template <class T>
LossSums weighted_loss_and_gradient(std::uint64_t rows, std::uint64_t classes,
                                    std::span<const T> logits, const HardTargets<T>* hard,
                                    T hard_weight, const WeightedTargets<T>& soft,
                                    const SoftOptions& options, T soft_weight, std::span<T> grad) {
  check_spans(rows, classes, logits, grad, soft);
  if (!(options.temperature > 0) || !std::isfinite(options.temperature))
    throw core::UsageError("loss: temperature " + std::to_string(options.temperature) +
                           " is not above 0");
  if (hard != nullptr && hard->label_begin.size() != rows + 1)
    throw core::InternalError("loss: gold labels of another number of rows");
  LossSums sums;
  WeightedRow<T> weighted(classes, soft, options.temperature,
                          scale_factor(options.scale, options.temperature), soft_weight);
  const HardTerm<T> gold(classes, hard, hard_weight);
  const bool shared = options.temperature == 1;
  std::vector<T> hard_exp(gold.present() && !shared ? classes : 0);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const T* x = logits.data() + row * classes;
    T* out = grad.data() + row * classes;
    weighted.open(x, out);
    weighted.add_value(row, x, sums.soft, sums.kl);
    double factor = weighted.dense_factor();
    const T share = gold.present() ? static_cast<T>(gold.even_share(row)) : T{0};
    if (gold.present() && !shared) {
      const T highest = row_max(x, classes);
      const double sum = row_exp(x, classes, highest, T{1}, hard_exp.data());
      gold.add_value(row, x, static_cast<double>(highest) + std::log(sum),
                     static_cast<double>(highest), sums);
      const T f = static_cast<T>(factor), h = static_cast<T>(gold.weight() / sum);
      for (std::uint64_t j = 0; j < classes; ++j) out[j] = (out[j] * f - share) + hard_exp[j] * h;
    } else {
      if (gold.present()) {
        gold.add_value(row, x, weighted.log_all(), weighted.highest(), sums);
        factor += weighted.softmax_factor(gold.weight());
      }
      const T f = static_cast<T>(factor);
      for (std::uint64_t j = 0; j < classes; ++j) out[j] = out[j] * f - share;
    }
    weighted.subtract_weights(row, out);
    if (gold.present()) gold.subtract_gold(row, out);
  }
  return sums;
}

template <class T>
LossSums unlabelled_loss_and_gradient(std::uint64_t rows, std::uint64_t classes,
                                      std::span<const T> logits, const WeightedTargets<T>& targets,
                                      T weight, std::span<T> grad) {
  const LossSums sums = weighted_loss_and_gradient<T>(rows, classes, logits, nullptr, T{0}, targets,
                                                      kUnlabelledOptions, weight, grad);
  return {.unlabelled = sums.soft};
}

template <class T>
LossSums loss_and_gradient(const LossTargets<T>& targets, std::uint64_t classes,
                           std::span<const T> logits, std::span<T> grad) {
  if (targets.best != nullptr && targets.weighted != nullptr)
    throw core::InternalError("loss: soft targets of two forms");
  const auto hard_weight = static_cast<T>(targets.hard_weight);
  const auto soft_weight = static_cast<T>(targets.soft_weight);
  if (targets.weighted != nullptr)
    return weighted_loss_and_gradient<T>(targets.rows, classes, logits, targets.hard, hard_weight,
                                         *targets.weighted, targets.options, soft_weight, grad);
  return loss_and_gradient<T>(targets.rows, classes, logits, targets.hard, hard_weight,
                              targets.best, targets.options, soft_weight, grad);
}

template <class T>
void unlabelled_weights(std::uint32_t h, std::span<const T> probabilities, UnlabelledWeights choice,
                        std::span<T> weights) {
  if (h == 0 || probabilities.size() % h != 0 || weights.size() != probabilities.size())
    throw core::InternalError("loss: probabilities are not rows x h");
  for (std::size_t begin = 0; begin < probabilities.size(); begin += h) {
    double sum = 0;
    for (std::size_t i = begin; i < begin + h; ++i) sum += static_cast<double>(probabilities[i]);
    if (!(sum > 0))
      throw core::DataError(row_of_micro_shard(begin / h) + "has no probability on any label");
    for (std::size_t i = begin; i < begin + h; ++i) {
      if (choice == UnlabelledWeights::uniform)
        weights[i] = static_cast<T>(1.0 / h);
      else if (choice == UnlabelledWeights::raw)
        weights[i] = probabilities[i];
      else
        weights[i] = static_cast<T>(static_cast<double>(probabilities[i]) / sum);
    }
  }
}

template LossSums loss_and_gradient<float>(const LossTargets<float>&, std::uint64_t,
                                           std::span<const float>, std::span<float>);
template LossSums loss_and_gradient<double>(const LossTargets<double>&, std::uint64_t,
                                            std::span<const double>, std::span<double>);
template void unlabelled_weights<float>(std::uint32_t, std::span<const float>, UnlabelledWeights,
                                        std::span<float>);
template void unlabelled_weights<double>(std::uint32_t, std::span<const double>, UnlabelledWeights,
                                         std::span<double>);
template LossSums weighted_loss_and_gradient<float>(std::uint64_t, std::uint64_t,
                                                    std::span<const float>,
                                                    const HardTargets<float>*, float,
                                                    const WeightedTargets<float>&,
                                                    const SoftOptions&, float, std::span<float>);
template LossSums weighted_loss_and_gradient<double>(std::uint64_t, std::uint64_t,
                                                     std::span<const double>,
                                                     const HardTargets<double>*, double,
                                                     const WeightedTargets<double>&,
                                                     const SoftOptions&, double, std::span<double>);
template LossSums unlabelled_loss_and_gradient<float>(std::uint64_t, std::uint64_t,
                                                      std::span<const float>,
                                                      const WeightedTargets<float>&, float,
                                                      std::span<float>);
template LossSums unlabelled_loss_and_gradient<double>(std::uint64_t, std::uint64_t,
                                                       std::span<const double>,
                                                       const WeightedTargets<double>&, double,
                                                       std::span<double>);

}  // namespace retort::nn
