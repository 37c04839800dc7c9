#include "nn/class_head/listed_loss.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace retort::nn {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// log of a sum of exponentials, kept as the highest exponent and the sum relative to it. A NaN
/// comes out as NaN.
class LogSum {
 public:
  LogSum() = default;
  /// exp(highest) * sum.
  LogSum(double highest, double sum) : highest_(highest), sum_(sum) {}
  void add(double exponent) { add(LogSum(exponent, 1)); }
  void add(const LogSum& other) {
    if (other.sum_ == 0) return;
    if (sum_ == 0) {
      *this = other;
    } else if (other.highest_ > highest_) {
      sum_ = sum_ * std::exp(highest_ - other.highest_) + other.sum_;
      highest_ = other.highest_;
    } else {
      sum_ += other.sum_ * std::exp(other.highest_ - highest_);
    }
  }
  double value() const { return sum_ == 0 ? -kInfinity : highest_ + std::log(sum_); }

 private:
  double highest_ = -kInfinity, sum_ = 0;
};

std::string row_name(std::uint64_t row) { return fmt::format("row {} of the batch ", row); }

void require_known(std::uint64_t row, const char* has, std::uint32_t id, std::uint64_t classes) {
  if (id >= classes)
    throw core::DataError(
        fmt::format("{}{} class {} but the model has {} classes", row_name(row), has, id, classes));
}

void require_distinct(std::uint64_t row, std::vector<std::uint32_t> ids) {
  std::sort(ids.begin(), ids.end());
  const auto twice = std::adjacent_find(ids.begin(), ids.end());
  if (twice != ids.end())
    throw core::DataError(
        fmt::format("{}stores class {} twice: check the logits", row_name(row), *twice));
}

}  // namespace

template <class T>
ListedLoss<T>::ListedLoss(const LossTargets<T>& targets, std::uint64_t classes,
                          const Margin& margin)
    : targets_(targets), classes_(classes), margin_(margin) {
  if (targets.best != nullptr && targets.weighted != nullptr)
    throw core::InternalError("listed loss: soft targets of two forms");
  const bool soft = targets.best != nullptr || targets.weighted != nullptr;
  if (soft) {
    soft_temperature_ = targets.options.temperature;
    if (!(soft_temperature_ > 0) || !std::isfinite(soft_temperature_))
      throw core::UsageError(fmt::format("loss: temperature {} is not above 0", soft_temperature_));
    soft_scale_ = scale_factor(targets.options.scale, soft_temperature_);
  }
  needs_totals_ = targets.best != nullptr && targets.options.tail == TailMode::uniform;
  if (targets.hard != nullptr) {
    if (targets.hard->smoothing != T{0}) needs_totals_ = true;
    if (const auto* rows = targets.hard->soft_labels)
      for (const T background : rows->background) needs_totals_ |= background != T{0};
  }
  for (std::uint64_t row = 0; row < targets.rows; ++row) {
    std::vector<std::uint32_t> ids;
    if (targets.hard != nullptr) {
      const auto labels = gold(row);
      for (const std::uint32_t label : labels) require_known(row, "has gold label", label, classes);
      ids.assign(labels.begin(), labels.end());
      if (const auto* rows = targets.hard->soft_labels)
        for (std::uint64_t at = rows->begin[row]; at < rows->begin[row + 1]; ++at) {
          require_known(row, "has a soft label of", rows->ids[at], classes);
          ids.push_back(rows->ids[at]);
        }
    }
    std::vector<std::uint32_t> stored;
    if (targets.best != nullptr) {
      const auto best = targets.best->ids.subspan(row * targets.best->k, targets.best->k);
      stored.assign(best.begin(), best.end());
    } else if (targets.weighted != nullptr) {
      const auto& weighted = *targets.weighted;
      for (std::uint64_t at = weighted.begin[row]; at < weighted.begin[row + 1]; ++at)
        stored.push_back(weighted.ids[at]);
    }
    for (const std::uint32_t id : stored) require_known(row, "stores", id, classes);
    ids.insert(ids.end(), stored.begin(), stored.end());
    require_distinct(row, std::move(stored));
    listed_.append(std::move(ids));
  }
}

template <class T>
std::span<const std::uint32_t> ListedLoss<T>::gold(std::uint64_t row) const {
  const HardTargets<T>& hard = *targets_.hard;
  const std::uint32_t begin = hard.label_begin[row], end = hard.label_begin[row + 1];
  if (begin >= end) throw core::DataError(row_name(row) + "has no gold label");
  return hard.labels.subspan(begin, end - begin);
}

template <class T>
UnlistedGradient ListedLoss<T>::solve(std::uint64_t row, const UnlistedSums& others,
                                      std::span<const double> logits, std::span<float> gradient,
                                      LossSums& sums) {
  logit_.assign(logits.begin(), logits.end());
  slope_.assign(logits.size(), 1.0);
  gradient_.assign(logits.size(), 0.0);
  if (targets_.hard != nullptr) {
    if (is_correct(row, others, logits)) ++sums.correct;
    if (!margin_.none())
      for (const std::uint32_t label : gold(row)) {
        const std::uint64_t at = place(row, label);
        const MarginValue value = apply(margin_, logits[at]);
        logit_[at] = value.logit;
        slope_[at] = value.slope;
      }
  }
  UnlistedGradient dense;
  // -inf would make exp(z - reference) a NaN where there are none.
  dense.reference = others.count == 0 ? 0.0f : static_cast<float>(others.highest);
  if (targets_.hard != nullptr) add_hard(row, others, dense, sums);
  if (targets_.best != nullptr) add_best(row, others, dense, sums);
  if (targets_.weighted != nullptr) add_weighted(row, others, dense, sums);
  for (std::size_t i = 0; i < gradient_.size(); ++i)
    gradient[i] = static_cast<float>(gradient_[i] * slope_[i]);
  return dense;
}

template <class T>
bool ListedLoss<T>::is_correct(std::uint64_t row, const UnlistedSums& others,
                               std::span<const double> plain) const {
  const auto ids = listed_.of(row);
  std::uint32_t best = others.first;
  double highest = others.count == 0 ? -kInfinity : others.highest;
  bool found = others.count > 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (found && !(plain[i] > highest || (plain[i] == highest && ids[i] < best))) continue;
    highest = plain[i];
    best = ids[i];
    found = true;
  }
  const auto labels = gold(row);
  return std::find(labels.begin(), labels.end(), best) != labels.end();
}

template <class T>
void ListedLoss<T>::add_soft_dense(double factor, UnlistedGradient& dense) const {
  if (soft_temperature_ == 1)
    dense.hard += static_cast<float>(factor);
  else
    dense.soft += static_cast<float>(factor);
}

// loss = A - sum t z = A - h - sum t (z - h), as the targets t sum to 1; gradient: q - t.
template <class T>
void ListedLoss<T>::add_hard(std::uint64_t row, const UnlistedSums& others, UnlistedGradient& dense,
                             LossSums& sums) {
  const HardTargets<T>& hard = *targets_.hard;
  const auto ids = listed_.of(row);
  LogSum all(others.highest, others.exp_sum);
  double highest = others.count == 0 ? -kInfinity : others.highest;
  for (const double z : logit_) {
    all.add(z);
    highest = z < highest ? highest : z;
  }
  const double log_all = all.value();

  double background = 0;
  target_.assign(ids.size(), 0.0);
  if (const auto* rows = hard.soft_labels) {
    background = static_cast<double>(rows->background[row]);
    for (std::uint64_t at = rows->begin[row]; at < rows->begin[row + 1]; ++at)
      target_[place(row, rows->ids[at])] += static_cast<double>(rows->excess[at]);
  } else {
    const auto labels = gold(row);
    const double smoothing = static_cast<double>(hard.smoothing);
    background = smoothing / static_cast<double>(classes_);
    for (const std::uint32_t label : labels)
      target_[place(row, label)] += (1 - smoothing) / static_cast<double>(labels.size());
  }
  // Where only a part of the classes takes part, it shares what all unlisted ones would have.
  double share = 0;
  if (background != 0 && others.count > 0)
    share =
        background * static_cast<double>(classes_ - ids.size()) / static_cast<double>(others.count);
  double loss = log_all - highest;
  if (share != 0)
    loss -= share * (others.below + static_cast<double>(others.count) * (others.highest - highest));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const double target = target_[i] + background;
    loss -= target == 0 ? 0 : target * (logit_[i] - highest);
    gradient_[i] += targets_.hard_weight * (std::exp(logit_[i] - log_all) - target);
  }
  sums.hard += loss;
  dense.hard += static_cast<float>(targets_.hard_weight * std::exp(others.highest - log_all));
  dense.constant += static_cast<float>(targets_.hard_weight * share);
}

template <class T>
void ListedLoss<T>::add_best(std::uint64_t row, const UnlistedSums& others, UnlistedGradient& dense,
                             LossSums& sums) {
  const SparseTargets<T>& best = *targets_.best;
  const TailMode mode = targets_.options.tail;
  const double temperature = soft_temperature_;
  const double weight = targets_.soft_weight * soft_scale_ / temperature;
  const std::uint32_t k = best.k;

  // The student: a = z / t of all, of the stored classes, and of the rest. target_ marks the
  // stored.
  const LogSum unlisted(others.highest / temperature,
                        temperature == 1 ? others.exp_sum : others.soft_exp_sum);
  LogSum all = unlisted, rest = unlisted, head;
  target_.assign(logit_.size(), 0.0);
  places_.resize(k);
  for (std::uint32_t i = 0; i < k; ++i) {
    places_[i] = place(row, best.ids[row * k + i]);
    target_[places_[i]] = 1;
    head.add(logit_[places_[i]] / temperature);
  }
  double listed_rest = 0, listed_below = 0;  // number, sum of logits below the unlisted highest
  const double highest = others.count == 0 ? 0 : others.highest;
  for (std::size_t i = 0; i < logit_.size(); ++i) {
    all.add(logit_[i] / temperature);
    if (target_[i] != 0) continue;
    rest.add(logit_[i] / temperature);
    ++listed_rest;
    listed_below += logit_[i] - highest;
  }
  const double log_all = all.value(), log_rest = rest.value(), log_head = head.value();
  const double rest_count = static_cast<double>(others.count) + listed_rest;

  // The teacher.
  teacher_.resize(k);
  LogSum mass;
  for (std::uint32_t i = 0; i < k; ++i) {
    teacher_[i] = static_cast<double>(best.logits[row * k + i]) / temperature;
    mass.add(teacher_[i]);
  }
  const bool counts_rest =
      (mode == TailMode::residual || mode == TailMode::uniform) && k < classes_ && rest_count > 0;
  double teacher_rest = -kInfinity;
  if (counts_rest) {
    teacher_rest = static_cast<double>(best.tail_lse[row]);
    mass.add(teacher_rest);
  }
  const double log_mass = mass.value();
  const double p_rest = counts_rest ? std::exp(teacher_rest - log_mass) : 0;

  const double normaliser = mode == TailMode::renormalise_stored ? log_head : log_all;
  double loss = 0, entropy = 0;
  for (std::uint32_t i = 0; i < k; ++i) {
    const double a = logit_[places_[i]] / temperature, p = std::exp(teacher_[i] - log_mass);
    gradient_[places_[i]] += weight * (std::exp(a - normaliser) - p);
    if (p == 0) continue;  // 0 * log 0 is 0
    loss -= p * (a - normaliser);
    entropy -= p * (teacher_[i] - log_mass);
  }
  // Outside the stored classes: factor * exp(a_j - A_rest) - share.
  double factor = 0, share = 0;
  const double q_rest = std::exp(log_rest - log_all);
  if (mode == TailMode::residual) {
    factor = weight * (q_rest - p_rest);
    if (p_rest != 0) {
      loss -= p_rest * (log_rest - log_all);
      entropy -= p_rest * (teacher_rest - log_mass);
    }
  } else if (mode != TailMode::renormalise_stored) {
    factor = weight * q_rest;
  }
  if (mode == TailMode::uniform && p_rest != 0) {
    share = weight * p_rest / rest_count;
    const double mean = highest + (others.below + listed_below) / rest_count;
    loss -= p_rest * (mean / temperature - log_all);
    entropy -= p_rest * (teacher_rest - log_mass - std::log(rest_count));
  }
  for (std::size_t i = 0; i < logit_.size(); ++i)
    if (target_[i] == 0)
      gradient_[i] += factor * std::exp(logit_[i] / temperature - log_rest) - share;
  if (others.count > 0) {
    add_soft_dense(factor * std::exp(others.highest / temperature - log_rest), dense);
    dense.constant += static_cast<float>(share);
  }
  sums.soft += soft_scale_ * loss;
  sums.kl += soft_scale_ * std::max(0.0, loss - entropy);
}

// loss = -sum w (a - A); gradient: W q - w.
template <class T>
void ListedLoss<T>::add_weighted(std::uint64_t row, const UnlistedSums& others,
                                 UnlistedGradient& dense, LossSums& sums) {
  const WeightedTargets<T>& weighted = *targets_.weighted;
  const double temperature = soft_temperature_;
  const double weight = targets_.soft_weight * soft_scale_ / temperature;
  LogSum all(others.highest / temperature, temperature == 1 ? others.exp_sum : others.soft_exp_sum);
  for (const double z : logit_) all.add(z / temperature);
  const double log_all = all.value();
  double total = 0;
  for (std::uint64_t at = weighted.begin[row]; at < weighted.begin[row + 1]; ++at) {
    const auto w = static_cast<double>(weighted.weights[at]);
    total += w;
    const std::uint64_t i = place(row, weighted.ids[at]);
    gradient_[i] -= weight * w;
    if (w == 0) continue;  // 0 * log 0 is 0
    const double log_q = logit_[i] / temperature - log_all;
    sums.soft -= soft_scale_ * w * log_q;
    if (!weighted.log_probability.empty())
      sums.kl += soft_scale_ * w * (static_cast<double>(weighted.log_probability[at]) - log_q);
  }
  if (total == 0) return;
  for (std::size_t i = 0; i < logit_.size(); ++i)
    gradient_[i] += weight * total * std::exp(logit_[i] / temperature - log_all);
  if (others.count > 0)
    add_soft_dense(weight * total * std::exp(others.highest / temperature - log_all), dense);
}

template class ListedLoss<float>;
template class ListedLoss<double>;

}  // namespace retort::nn
