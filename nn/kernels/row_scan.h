// What one pass over a row of logits finds out for the loss (nn/kernels/row_loss.h): running maxima
// and sums of exponentials with the stored classes left out.
#pragma once

#include "nn/kernels/block.h"

namespace retort::nn {

/// A set of class ids, asked for each class of the row: a bitmap of id mod 8192 says no to nearly
/// all, the list itself decides the rest.
class StoredIds {
 public:
  static constexpr int kWords = 256;
  RETORT_DEVICE StoredIds(std::uint32_t* words, const std::uint32_t* ids, std::uint32_t k)
      : words_(words), ids_(ids), k_(k) {}

  /// Each word has one writer, which reads all ids: no atomics.
  template <class Block>
  RETORT_DEVICE void fill(Block& block) {
    block.stride(kWords, [&](std::uint64_t word) {
      std::uint32_t bits = 0;
      for (std::uint32_t i = 0; i < k_; ++i)
        if ((ids_[i] / 32) % kWords == word) bits |= 1u << (ids_[i] % 32);
      words_[word] = bits;
    });
  }
  RETORT_DEVICE bool contains(std::uint64_t id) const {
    if ((words_[(id / 32) % kWords] >> (id % 32) & 1u) == 0) return false;
    for (std::uint32_t i = 0; i < k_; ++i)
      if (ids_[i] == id) return true;
    return false;
  }

 private:
  std::uint32_t* words_;
  const std::uint32_t* ids_;
  std::uint32_t k_;
};

/// Running maximum and sum of exp((x - max) * scale).
struct RunningExp {
  double sum = 0;
  float recent = 0;  // not yet in `sum`
  float max = lowest_float();

  /// A new maximum, if x is one.
  RETORT_DEVICE void raise(float x, float scale) {
    if (!(x > max)) return;
    const float shrink = expf((max - x) * scale);  // 0 at the first element
    sum *= static_cast<double>(shrink);
    recent *= shrink;
    max = x;
  }
  /// Of an x that is no new maximum.
  RETORT_DEVICE void add_below(float x, float scale) {
    // -inf adds nothing, also before the first finite element, where the difference is no number.
    if (x != lowest_float()) recent += expf((x - max) * scale);
  }
  RETORT_DEVICE void add(float x, float scale) {
    raise(x, scale);
    add_below(x, scale);
  }
  RETORT_DEVICE void flush() {
    sum += static_cast<double>(recent);
    recent = 0;
  }
  RETORT_DEVICE static RunningExp merge(const RunningExp& a, const RunningExp& b, float scale) {
    if (a.max == lowest_float()) return keep_nan(b, a);
    if (b.max == lowest_float()) return keep_nan(a, b);
    RunningExp merged;
    merged.max = a.max < b.max ? b.max : a.max;
    merged.sum = a.sum * static_cast<double>(expf((a.max - merged.max) * scale)) +
                 b.sum * static_cast<double>(expf((b.max - merged.max) * scale));
    return merged;
  }

 private:
  // `empty` holds 0, or NaN if it met one.
  RETORT_DEVICE static RunningExp keep_nan(RunningExp full, const RunningExp& empty) {
    full.sum += empty.sum;
    return full;
  }
};

struct RowScan {
  RunningExp tail;           // of the classes outside the set, at the soft temperature
  RunningExp all;            // of all classes at temperature 1
  double tail_total = 0;     // sum of the logits outside the set
  double total = 0;          // sum of all logits
  std::uint32_t argmax = 0;  // first of the highest
  std::uint32_t padding = 0;
};
static_assert(sizeof(RowScan) <= kReduceBytes);

struct ExpSum {
  double max = 0, sum = 0;
};

RETORT_DEVICE inline double log_add_exp_double(double a, double b) {
  const double high = a < b ? b : a, low = a < b ? a : b;
  return low == -INFINITY ? high : high + log1p(exp(low - high));
}

}  // namespace retort::nn
