#include "nn/loss.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <utility>

#include "core/error.h"
#include "nn/kernels/hard_term.h"
#include "nn/kernels/head.h"
#include "nn/kernels/row_ops.h"

namespace retort::nn {

double scale_factor(SoftScale scale, double temperature) {
  switch (scale) {
    case SoftScale::none:
      return 1;
    case SoftScale::inverse_temperature:
      return 1 / temperature;
    case SoftScale::temperature_squared:
      return temperature * temperature;
  }
  throw core::InternalError("unknown scale of the soft loss");
}

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// NaN on either side comes out as NaN (std::max would drop it).
double log_add_exp(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == -kInfinity ? a : a + std::log1p(std::exp(b - a));
}

// The student's row at one temperature, split into the stored classes and the rest: the rest by a
// masked pass, never by subtraction (the head may hold nearly all mass).
struct SplitSoftmax {
  double log_head = 0;           // log-sum-exp over the stored classes
  double log_all = 0;            // A: over all classes
  double log_tail = -kInfinity;  // A_t: over the classes outside the set
  double tail_reference = 0;     // exp in the dense row is relative to this
  double tail_exp_sum = 0;       // of the dense row
};

template <class T>
class RowLoss {
 public:
  RowLoss(std::uint64_t classes, const HardTargets<T>* hard, T hard_weight,
          const SparseTargets<T>* soft, const SoftOptions& options, T soft_weight)
      : n_(classes),
        hard_(classes, hard, hard_weight),
        soft_(soft),
        mode_(options.tail),
        temperature_(options.temperature),
        scale_(scale_factor(options.scale, options.temperature)),
        soft_weight_(static_cast<double>(soft_weight) * scale_ / temperature_),
        student_(soft == nullptr ? 1 : soft->k),
        teacher_(soft == nullptr ? 1 : soft->k) {
    if (soft_ != nullptr && hard_.present() && !shared()) hard_exp_.resize(classes);
  }

  void run(std::uint64_t row, const T* logits, T* grad, LossSums& sums) {
    if (soft_ == nullptr) return hard_.alone(row, logits, grad, sums);
    const std::span<const std::uint32_t> ids = soft_->ids.subspan(row * soft_->k, soft_->k);
    const SplitSoftmax split = split_softmax(row, ids, logits, grad);
    const Target target = make_target(row);
    const SoftValues values = soft_values(target, split, logits, ids);
    sums.soft += scale_ * values.loss;
    sums.kl += scale_ * std::max(0.0, values.loss - values.entropy);
    write_gradient(row, ids, split, target, logits, grad, sums);
  }

 private:
  struct Target {
    double log_mass = 0;  // L: log-sum-exp of the teacher over what the mode counts
    double rest = 0;      // p_r
    double log_rest = -kInfinity;
  };
  struct SoftValues {
    double loss = 0, entropy = 0;
  };

  bool shared() const { return temperature_ == 1; }
  bool has_tail() const { return soft_->k < n_; }

  // Fills student_ (a_k = s_k / t) and the dense row with exp of the masked row.
  SplitSoftmax split_softmax(std::uint64_t row, std::span<const std::uint32_t> ids, const T* logits,
                             T* dense) {
    constexpr T kMasked = -std::numeric_limits<T>::infinity();
    std::copy_n(logits, n_, dense);
    for (std::size_t k = 0; k < ids.size(); ++k) {
      if (ids[k] >= n_)
        throw core::DataError(row_of_micro_shard(row) + "stores class " + std::to_string(ids[k]) +
                              " but the model has " + std::to_string(n_) + " classes");
      if (dense[ids[k]] == kMasked && logits[ids[k]] != kMasked)
        throw core::DataError(row_of_micro_shard(row) + "stores class " + std::to_string(ids[k]) +
                              " twice: check the logits");
      dense[ids[k]] = kMasked;
      student_[k] = static_cast<double>(logits[ids[k]]) / temperature_;
    }
    SplitSoftmax split;
    split.log_head = student_.log_sum_exp();
    if (!has_tail()) {
      std::fill_n(dense, n_, T{0});
      split.log_all = split.log_head;
      return split;
    }
    const T highest = row_max(dense, n_);
    split.tail_reference = static_cast<double>(highest) / temperature_;
    split.tail_exp_sum = row_exp(dense, n_, highest, static_cast<T>(1 / temperature_), dense);
    split.log_tail = split.tail_reference + std::log(split.tail_exp_sum);
    split.log_all = log_add_exp(split.log_head, split.log_tail);
    return split;
  }

  Target make_target(std::uint64_t row) {
    Target target;
    for (std::uint32_t k = 0; k < soft_->k; ++k)
      teacher_[k] = static_cast<double>(soft_->logits[row * soft_->k + k]) / temperature_;
    target.log_mass = teacher_.log_sum_exp();
    const bool counts_rest = mode_ == TailMode::residual || mode_ == TailMode::uniform;
    if (counts_rest && has_tail()) {
      const auto tail = static_cast<double>(soft_->tail_lse[row]);
      target.log_mass = log_add_exp(target.log_mass, tail);
      target.log_rest = tail - target.log_mass;
      target.rest = std::exp(target.log_rest);
    }
    return target;
  }

  SoftValues soft_values(const Target& target, const SplitSoftmax& split, const T* logits,
                         std::span<const std::uint32_t> ids) {
    const double normaliser = student_normaliser(split);
    const double scale = teacher_.scale(target.log_mass);
    SoftValues values;
    for (std::size_t k = 0; k < ids.size(); ++k) {
      const double p = teacher_.probability(k, scale);
      if (p == 0) continue;  // 0 * log 0 is 0
      values.loss -= p * (student_[k] - normaliser);
      values.entropy -= p * (teacher_[k] - target.log_mass);
    }
    if (target.rest == 0) return values;
    if (mode_ == TailMode::residual) {
      values.loss -= target.rest * (split.log_tail - split.log_all);
      values.entropy -= target.rest * target.log_rest;
    } else {
      const double others = static_cast<double>(n_ - soft_->k);
      values.loss -=
          target.rest * (masked_mean(logits, ids, others) / temperature_ - split.log_all);
      values.entropy -= target.rest * (target.log_rest - std::log(others));
    }
    return values;
  }

  double student_normaliser(const SplitSoftmax& split) const {
    return mode_ == TailMode::renormalise_stored ? split.log_head : split.log_all;
  }

  // Mean of the unstored logits: a masked sum, again never a subtraction.
  double masked_mean(const T* logits, std::span<const std::uint32_t> ids, double others) {
    masked_.assign(logits, logits + n_);
    for (const std::uint32_t id : ids) masked_[id] = 0;
    return row_sum(masked_.data(), n_) / others;
  }

  void write_gradient(std::uint64_t row, std::span<const std::uint32_t> ids,
                      const SplitSoftmax& split, const Target& target, const T* logits, T* grad,
                      LossSums& sums) {
    // Dense: grad_j = dense_j * factor - constant (+ the hard softmax) outside the stored ids.
    double factor = 0, constant = 0;
    const double tail_scale = std::exp(split.tail_reference - split.log_all);  // dense_j to q_j
    if (has_tail()) {
      if (mode_ == TailMode::residual) {
        const double q_rest = std::exp(split.log_tail - split.log_all);
        factor = soft_weight_ * (q_rest - target.rest) / split.tail_exp_sum;
      } else if (mode_ != TailMode::renormalise_stored) {
        factor = soft_weight_ * tail_scale;
      }
      if (mode_ == TailMode::uniform)
        constant = soft_weight_ * target.rest / static_cast<double>(n_ - soft_->k);
    }
    double hard_factor = 0;
    if (hard_.present()) {
      constant += hard_.even_share(row);
      if (shared()) {
        double highest = has_tail() ? split.tail_reference : -kInfinity;
        highest = student_.highest() < highest ? highest : student_.highest();
        hard_.add_value(row, logits, split.log_all, highest, sums);
        if (has_tail()) factor += hard_.weight() * tail_scale;
        dense_pass(grad, factor, constant);
      } else {
        const T highest = row_max(logits, n_);
        const double sum = row_exp(logits, n_, highest, T{1}, hard_exp_.data());
        hard_.add_value(row, logits, static_cast<double>(highest) + std::log(sum),
                        static_cast<double>(highest), sums);
        hard_factor = hard_.weight() / sum;
        dense_pass(grad, factor, constant, hard_factor);
      }
    } else {
      dense_pass(grad, factor, constant);
    }
    const double student_scale = student_.scale(student_normaliser(split));
    const double teacher_scale = teacher_.scale(target.log_mass);
    const double shared_scale = student_.scale(split.log_all);  // at temperature 1
    for (std::size_t k = 0; k < ids.size(); ++k) {
      double value = soft_weight_ * (student_.probability(k, student_scale) -
                                     teacher_.probability(k, teacher_scale));
      if (hard_.present()) {
        const double softmax = shared() ? hard_.weight() * student_.probability(k, shared_scale)
                                        : hard_factor * static_cast<double>(hard_exp_[ids[k]]);
        value += softmax - hard_.even_share(row);
      }
      grad[ids[k]] = static_cast<T>(value);
    }
    if (hard_.present()) hard_.subtract_gold(row, grad);
  }

  void dense_pass(T* grad, double factor, double constant) const {
    const T f = static_cast<T>(factor), c = static_cast<T>(constant);
    for (std::uint64_t j = 0; j < n_; ++j) grad[j] = grad[j] * f - c;
  }
  void dense_pass(T* grad, double factor, double constant, double hard_factor) const {
    const T f = static_cast<T>(factor), c = static_cast<T>(constant);
    const T h = static_cast<T>(hard_factor);
    const T* hard = hard_exp_.data();
    for (std::uint64_t j = 0; j < n_; ++j) grad[j] = (grad[j] * f - c) + hard[j] * h;
  }

  std::uint64_t n_;
  HardTerm<T> hard_;
  const SparseTargets<T>* soft_;
  TailMode mode_;
  double temperature_, scale_, soft_weight_;
  Head<T> student_, teacher_;  // a_k = s_k / t, b_k = z_k / t
  std::vector<T> hard_exp_, masked_;
};

}  // namespace

template <class T>
LossSums loss_and_gradient(std::uint64_t rows, std::uint64_t classes, std::span<const T> logits,
                           const HardTargets<T>* hard, T hard_weight, const SparseTargets<T>* soft,
                           const SoftOptions& options, T soft_weight, std::span<T> grad) {
  if (logits.size() != rows * classes || grad.size() != logits.size())
    throw core::InternalError("loss: logits or gradient are not rows x classes");
  if (hard == nullptr && soft == nullptr)
    throw core::InternalError("loss: neither hard nor soft targets");
  if (hard != nullptr && hard->label_begin.size() != rows + 1)
    throw core::InternalError("loss: gold labels of another number of rows");
  if (soft != nullptr) {
    if (!(options.temperature > 0) || !std::isfinite(options.temperature))
      throw core::UsageError("loss: temperature " + std::to_string(options.temperature) +
                             " is not above 0");
    if (soft->k < 1 || soft->k > classes)
      throw core::DataError("loss: " + std::to_string(soft->k) + " stored logits per row, but " +
                            std::to_string(classes) + " classes");
    const bool needs_tail =
        (options.tail == TailMode::residual || options.tail == TailMode::uniform) &&
        soft->k < classes;
    if (soft->ids.size() != rows * soft->k || soft->logits.size() != rows * soft->k ||
        (needs_tail && soft->tail_lse.size() != rows))
      throw core::InternalError("loss: stored logits of another number of rows");
  }
  LossSums sums;
  RowLoss<T> loss(classes, hard, hard_weight, soft, options, soft_weight);
  for (std::uint64_t row = 0; row < rows; ++row)
    loss.run(row, logits.data() + row * classes, grad.data() + row * classes, sums);
  return sums;
}

template LossSums loss_and_gradient<float>(std::uint64_t, std::uint64_t, std::span<const float>,
                                           const HardTargets<float>*, float,
                                           const SparseTargets<float>*, const SoftOptions&, float,
                                           std::span<float>);
template LossSums loss_and_gradient<double>(std::uint64_t, std::uint64_t, std::span<const double>,
                                            const HardTargets<double>*, double,
                                            const SparseTargets<double>*, const SoftOptions&,
                                            double, std::span<double>);

std::size_t temperature_index(std::span<const double> stored, double temperature) {
  std::string known;
  for (std::size_t i = 0; i < stored.size(); ++i) {
    // Both come from decimal text; one may have gone through another printer.
    if (std::abs(stored[i] - temperature) <= 1e-9 * std::abs(stored[i])) return i;
    char text[32];
    std::snprintf(text, sizeof text, "%s%g", i ? ", " : "", stored[i]);
    known += text;
  }
  char asked[32];
  std::snprintf(asked, sizeof asked, "%g", temperature);
  throw core::UsageError(std::string("temperature ") + asked +
                         " was not captured: the logits hold the tail at " + known +
                         "; use one of these, --tail renormalise, or capture again with it in "
                         "--temperatures");
}

}  // namespace retort::nn
