// The sparse distillation loss of one row and its gradient, by one block of threads: two passes
// over the student's logits, one write of the gradient, K scattered corrections; no dense teacher
// vector. methods/topk-distillation.md, equations (1), (2) and the tail modes; the CPU's own path
// is nn/loss.cpp. Logits fp32 or bf16; running maxima and sums in fp32, flushed to fp64 every 64
// elements; everything about the K stored entries in fp64. Measured against the fp64 reference
// (tests/unit/nn/row_loss_test.cpp): losses to 2e-6 relative, gradients to 1e-6 of the weight.
#pragma once

#include "nn/kernels/row_scan.h"

namespace retort::nn {

/// What stands for the soft target of a row. `weights`: explicit weights of classes instead of
/// teacher logits, l = -sum w_k (a_k - A): sampled rows (w = n / M ...) and unlabelled rows
/// (nn/loss.h, WeightedTargets).
enum class RowTarget { none, residual, uniform, renormalise, renormalise_stored, weights };

struct RowLossSettings {
  RowTarget target = RowTarget::none;
  double temperature = 1;
  double soft_scale = 1;   // c(temperature)
  double hard_weight = 0;  // 0 and no gold labels: no hard loss
  double soft_weight = 0;  // without c / temperature
  double smoothing = 0;
};

template <class Logit>
struct LossRow {
  const Logit* logits = nullptr;
  std::uint64_t classes = 0;
  const std::uint32_t* gold = nullptr;
  std::uint32_t gold_count = 0;  // 0: no hard loss
  const std::uint32_t* ids = nullptr;
  const float* teacher = nullptr;  // raw logits of the K ids; RowTarget::weights: their weights
  const float* log_probability = nullptr;  // RowTarget::weights: for kl; null: kl stays 0
  std::uint32_t k = 0;
  float tail_lse = 0;
  float* grad = nullptr;
};

enum class RowFault : std::uint32_t { none, gold_range, stored_range, stored_twice };

/// Unweighted, as in nn::LossSums.
struct RowLossSums {
  double hard = 0, soft = 0, kl = 0;
  std::uint32_t correct = 0;
  RowFault fault = RowFault::none;
  std::uint32_t fault_class = 0;
  std::uint32_t padding = 0;
};

template <class Block, class Logit>
class RowLossKernel {
 public:
  RETORT_DEVICE RowLossKernel(Block& block, const RowLossSettings& settings,
                              const LossRow<Logit>& row, std::uint32_t* filter)
      : block_(block),
        settings_(settings),
        row_(row),
        stored_(filter, row.ids, soft() ? row.k : 0),
        inverse_(static_cast<float>(1 / settings.temperature)) {}

  /// The same on all threads.
  RETORT_DEVICE RowLossSums run() {
    RowLossSums sums = faults();
    if (sums.fault != RowFault::none) return sums;
    stored_.fill(block_);
    const RowScan scan = scan_logits();
    if (has_tail()) log_tail_ = scan.tail.max * one_over_t() + log(scan.tail.sum);
    log_all_ = scan.all.max + log(scan.all.sum);
    if (soft()) soft_values(scan, sums);
    if (hard()) hard_values(scan, sums);
    write_gradient(scan);
    return sums;
  }

 private:
  RETORT_DEVICE bool soft() const { return settings_.target != RowTarget::none; }
  RETORT_DEVICE bool hard() const { return row_.gold_count > 0; }
  RETORT_DEVICE bool weighted() const { return settings_.target == RowTarget::weights; }
  RETORT_DEVICE bool has_tail() const { return !soft() || row_.k < row_.classes; }
  RETORT_DEVICE double one_over_t() const { return 1 / settings_.temperature; }
  RETORT_DEVICE float logit(std::uint64_t j) const { return load(row_.logits + j); }
  RETORT_DEVICE double student(std::uint32_t k) const {
    return static_cast<double>(logit(row_.ids[k])) * one_over_t();
  }
  RETORT_DEVICE double teacher(std::uint32_t k) const {
    return static_cast<double>(row_.teacher[k]) * one_over_t();
  }
  /// p_k, or the weight itself.
  RETORT_DEVICE double target(std::uint32_t k) const {
    return weighted() ? static_cast<double>(row_.teacher[k]) : exp(teacher(k) - log_mass_);
  }

  RETORT_DEVICE double log_target(std::uint32_t k) const {
    if (!weighted()) return teacher(k) - log_mass_;
    return row_.log_probability == nullptr ? 0 : static_cast<double>(row_.log_probability[k]);
  }

  RETORT_DEVICE RowLossSums faults() {
    struct Found {
      std::uint32_t fault = 0, id = 0;
    };
    const Found found = block_.template reduce<Found>(
        [&](int thread) {
          Found mine;
          for (std::uint32_t i = thread; i < row_.gold_count; i += block_.threads())
            if (row_.gold[i] >= row_.classes)
              mine = {std::uint32_t(RowFault::gold_range), row_.gold[i]};
          const std::uint32_t k = soft() ? row_.k : 0;
          for (std::uint32_t i = thread; i < k; i += block_.threads()) {
            if (row_.ids[i] >= row_.classes)
              mine = {std::uint32_t(RowFault::stored_range), row_.ids[i]};
            for (std::uint32_t other = 0; other < i; ++other)
              if (row_.ids[other] == row_.ids[i])
                mine = {std::uint32_t(RowFault::stored_twice), row_.ids[i]};
          }
          return mine;
        },
        [](const Found& a, const Found& b) { return a.fault != 0 ? a : b; });
    RowLossSums sums;
    sums.fault = static_cast<RowFault>(found.fault);
    sums.fault_class = found.id;
    return sums;
  }

  RETORT_DEVICE RowScan scan_logits() {
    const float inverse = inverse_;
    return block_.template reduce<RowScan>(
        [&](int thread) {
          constexpr int kFlush = 64;
          RowScan mine;
          float total = 0, tail_total = 0;
          int pending = 0;
          for (std::uint64_t j = thread; j < row_.classes; j += block_.threads()) {
            const float x = logit(j);
            if (x > mine.all.max) mine.argmax = static_cast<std::uint32_t>(j);
            mine.all.add(x, 1.0f);
            total += x;
            if (!soft() || !stored_.contains(j)) {
              mine.tail.add(x, inverse);
              tail_total += x;
            }
            if (++pending == kFlush) {
              flush(mine, total, tail_total);
              pending = 0;
            }
          }
          flush(mine, total, tail_total);
          return mine;
        },
        [inverse](const RowScan& a, const RowScan& b) {
          RowScan merged;
          const bool second =
              b.all.max > a.all.max || (b.all.max == a.all.max && b.argmax < a.argmax);
          merged.argmax = second ? b.argmax : a.argmax;
          merged.all = RunningExp::merge(a.all, b.all, 1.0f);
          merged.tail = RunningExp::merge(a.tail, b.tail, inverse);
          merged.total = a.total + b.total;
          merged.tail_total = a.tail_total + b.tail_total;
          return merged;
        });
  }
  RETORT_DEVICE static void flush(RowScan& scan, float& total, float& tail_total) {
    scan.all.flush();
    scan.tail.flush();
    scan.total += static_cast<double>(total);
    scan.tail_total += static_cast<double>(tail_total);
    total = tail_total = 0;
  }

  /// log-sum-exp over the K values value(k), in fp64.
  template <class F>
  RETORT_DEVICE double head_log_sum_exp(F value) {
    const ExpSum sum = block_.template reduce<ExpSum>(
        [&](int thread) {
          ExpSum mine{-INFINITY, 0};
          for (std::uint32_t i = thread; i < row_.k; i += block_.threads())
            mine = merge_exp(mine, {value(i), 1});
          return mine;
        },
        [](const ExpSum& a, const ExpSum& b) { return merge_exp(a, b); });
    return sum.max + log(sum.sum);
  }
  RETORT_DEVICE static ExpSum merge_exp(const ExpSum& a, const ExpSum& b) {
    if (a.sum == 0) return b;
    if (b.sum == 0) return a;
    const double max = a.max < b.max ? b.max : a.max;
    return {max, a.sum * exp(a.max - max) + b.sum * exp(b.max - max)};
  }

  RETORT_DEVICE void soft_values(const RowScan& scan, RowLossSums& sums) {
    const double log_head = head_log_sum_exp([&](std::uint32_t i) { return student(i); });
    log_soft_all_ = has_tail() ? log_add_exp_double(log_head, log_tail_) : log_head;
    normaliser_ = settings_.target == RowTarget::renormalise_stored ? log_head : log_soft_all_;
    double log_rest = -INFINITY;
    if (!weighted()) {
      log_mass_ = head_log_sum_exp([&](std::uint32_t i) { return teacher(i); });
      const bool counts_rest =
          settings_.target == RowTarget::residual || settings_.target == RowTarget::uniform;
      if (counts_rest && has_tail()) {
        const double tail = row_.tail_lse;
        log_mass_ = log_add_exp_double(log_mass_, tail);
        log_rest = tail - log_mass_;
        rest_ = exp(log_rest);
      }
    }
    struct Sums {
      double loss = 0, entropy = 0, mass = 0;
    };
    Sums head = block_.template reduce<Sums>(
        [&](int thread) {
          Sums mine;
          for (std::uint32_t i = thread; i < row_.k; i += block_.threads()) {
            const double p = target(i);
            if (p == 0) continue;  // 0 * log 0 is 0
            mine.loss -= p * (student(i) - normaliser_);
            mine.entropy -= p * log_target(i);
            mine.mass += p;
          }
          return mine;
        },
        [](const Sums& a, const Sums& b) {
          return Sums{a.loss + b.loss, a.entropy + b.entropy, a.mass + b.mass};
        });
    if (weighted()) mass_ = head.mass;
    if (rest_ != 0) {
      const double others = static_cast<double>(row_.classes - row_.k);
      if (settings_.target == RowTarget::residual) {
        head.loss -= rest_ * (log_tail_ - log_soft_all_);
        head.entropy -= rest_ * log_rest;
      } else {
        head.loss -= rest_ * (scan.tail_total / others * one_over_t() - log_soft_all_);
        head.entropy -= rest_ * (log_rest - log(others));
      }
    }
    sums.soft = settings_.soft_scale * head.loss;
    const double kl = settings_.soft_scale * (head.loss - head.entropy);
    // Of importance weights an unbiased estimate, which may be negative.
    if (!weighted()) sums.kl = kl < 0 ? 0 : kl;
    if (weighted() && row_.log_probability != nullptr) sums.kl = kl;
  }

  RETORT_DEVICE void hard_values(const RowScan& scan, RowLossSums& sums) {
    double gold = 0;
    for (std::uint32_t i = 0; i < row_.gold_count; ++i) {
      gold += static_cast<double>(logit(row_.gold[i]));
      if (row_.gold[i] == scan.argmax) sums.correct = 1;
    }
    const double expected = (1 - settings_.smoothing) * gold / row_.gold_count +
                            settings_.smoothing * scan.total / static_cast<double>(row_.classes);
    sums.hard = log_all_ - expected;
  }

  RETORT_DEVICE void write_gradient(const RowScan& scan) {
    const double weight = settings_.soft_weight * settings_.soft_scale * one_over_t();
    // Dense: grad_j = soft_j * factor - constant + hard_j * hard_factor, with the exponentials
    // relative to the maxima of the scan.
    double factor = 0, constant = 0, hard_factor = 0;
    const double q_rest = has_tail() ? exp(log_tail_ - log_soft_all_) : 0;
    if (soft() && has_tail()) {
      if (settings_.target == RowTarget::residual)
        factor = weight * (q_rest - rest_) / scan.tail.sum;
      else if (settings_.target != RowTarget::renormalise_stored)
        factor = weight * mass_ * q_rest / scan.tail.sum;
      if (settings_.target == RowTarget::uniform)
        constant = weight * rest_ / static_cast<double>(row_.classes - row_.k);
    }
    double share = 0;
    if (hard()) {
      share = settings_.hard_weight * settings_.smoothing / static_cast<double>(row_.classes);
      hard_factor = settings_.hard_weight / scan.all.sum;
      constant += share;
    }
    const float f = static_cast<float>(factor), c = static_cast<float>(constant);
    const float h = static_cast<float>(hard_factor);
    block_.stride(row_.classes, [&](std::uint64_t j) {
      if (soft() && stored_.contains(j)) return;
      const float x = logit(j);
      float value = -c;
      if (f != 0) value += f * expf((x - scan.tail.max) * inverse_);
      if (h != 0) value += h * expf(x - scan.all.max);
      row_.grad[j] = value;
    });
    if (soft())
      block_.stride(row_.k, [&](std::uint64_t i) {
        const auto k = static_cast<std::uint32_t>(i);
        double value = weight * (mass_ * exp(student(k) - normaliser_) - target(k));
        if (hard())
          value += settings_.hard_weight * exp(static_cast<double>(logit(row_.ids[k])) - log_all_) -
                   share;
        row_.grad[row_.ids[k]] = static_cast<float>(value);
      });
    if (!hard()) return;
    const double gold = settings_.hard_weight * (1 - settings_.smoothing) / row_.gold_count;
    // A class may be named twice: one thread, in order.
    block_.each([&](int thread) {
      if (thread != 0) return;
      for (std::uint32_t i = 0; i < row_.gold_count; ++i) {
        float& g = row_.grad[row_.gold[i]];
        g = static_cast<float>(static_cast<double>(g) - gold);
      }
    });
  }

  Block& block_;
  const RowLossSettings& settings_;
  const LossRow<Logit>& row_;
  StoredIds stored_;
  float inverse_;
  double log_tail_ = -INFINITY;  // A_t
  double log_all_ = 0;           // at temperature 1
  double log_soft_all_ = 0;      // A, at the soft temperature
  double normaliser_ = 0;        // what the stored classes are normalised by
  double log_mass_ = 0;          // L
  double rest_ = 0;              // p_r
  double mass_ = 1;              // W
};

/// `filter`: StoredIds::kWords words that the block shares.
template <class Block, class Logit>
RETORT_DEVICE RowLossSums row_loss(Block& block, const RowLossSettings& settings,
                                   const LossRow<Logit>& row, std::uint32_t* filter) {
  return RowLossKernel<Block, Logit>(block, settings, row, filter).run();
}

}  // namespace retort::nn
