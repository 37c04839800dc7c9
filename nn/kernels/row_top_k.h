// Top-K of one row and the log-sum-exp of what was not taken, by one block of threads: the
// algorithm of nn/kernels/top_k.cpp. Each thread's maximum gives a lower bound of the K-th value;
// what reaches it is collected and ranked by counting; where too much reaches it, the winners are
// found one after another. The choice is exact in both ways: value descending, then id ascending.
#pragma once

#include "nn/kernels/block.h"

namespace retort::nn {

inline constexpr int kMostTemperatures = 8;
inline constexpr std::uint32_t kMostCandidates = 1024;

struct Ranked {
  float value = lowest_float();
  std::uint32_t id = 0xffffffffu;
  /// Comes before `other` in the order of winners.
  RETORT_DEVICE bool before(const Ranked& other) const {
    return value > other.value || (value == other.value && id < other.id);
  }
};

/// What a block shares while it works on a row.
struct TopKScratch {
  Ranked candidates[kMostCandidates];
  float maxima[kMostThreads];
  std::uint32_t counts[kMostThreads];
  float threshold = 0;
  Ranked last;   // the K-th winner
  Ranked after;  // the best that was not taken
};

template <class Logit>
struct TopKRow {
  const Logit* logits = nullptr;
  std::uint64_t classes = 0;
  std::uint32_t k = 0;  // in [1, classes]
  const float* inverse_temperatures = nullptr;
  int temperatures = 0;          // at most kMostTemperatures
  std::uint32_t* ids = nullptr;  // [k]
  float* values = nullptr;       // [k]
  float* tail = nullptr;         // [temperatures]
};

template <class Block, class Logit>
class RowTopK {
 public:
  RETORT_DEVICE RowTopK(Block& block, const TopKRow<Logit>& row, TopKScratch& scratch)
      : block_(block), row_(row), scratch_(scratch), wanted_(row.k + (has_tail() ? 1 : 0)) {}

  /// False, with nothing written, if a logit is NaN or infinite.
  RETORT_DEVICE bool run() {
    if (!find_maxima()) return false;
    if (!collect_candidates()) take_one_by_one();
    sum_tail();
    return true;
  }

 private:
  RETORT_DEVICE bool has_tail() const { return row_.k < row_.classes; }
  RETORT_DEVICE Ranked at(std::uint64_t j) const {
    return {load(row_.logits + j), static_cast<std::uint32_t>(j)};
  }

  RETORT_DEVICE bool find_maxima() {
    struct Count {
      std::uint32_t infinite = 0;
    };
    const Count count = block_.template reduce<Count>(
        [&](int thread) {
          float max = lowest_float();
          Count mine;
          for (std::uint64_t j = thread; j < row_.classes; j += block_.threads()) {
            const float x = load(row_.logits + j);
            mine.infinite |= x - x == 0.0f ? 0u : 1u;  // 0 for finite values alone
            max = x > max ? x : max;
          }
          scratch_.maxima[thread] = max;
          return mine;
        },
        [](const Count& a, const Count& b) { return Count{a.infinite | b.infinite}; });
    return count.infinite == 0;
  }

  /// False if the bound does not help: more winners than threads, or too many candidates.
  RETORT_DEVICE bool collect_candidates() {
    const auto threads = static_cast<std::uint32_t>(block_.threads());
    if (wanted_ > threads || wanted_ > kMostCandidates) return false;
    block_.each([&](int thread) {
      const float mine = scratch_.maxima[thread];
      std::uint32_t rank = 0;
      for (std::uint32_t other = 0; other < threads; ++other)
        if (scratch_.maxima[other] > mine ||
            (scratch_.maxima[other] == mine && other < static_cast<std::uint32_t>(thread)))
          ++rank;
      if (rank == wanted_ - 1) scratch_.threshold = mine;
    });
    const float threshold = scratch_.threshold;
    struct Count {
      std::uint32_t reaching = 0;
    };
    const Count total = block_.template reduce<Count>(
        [&](int thread) {
          Count mine;
          for (std::uint64_t j = thread; j < row_.classes; j += block_.threads())
            if (load(row_.logits + j) >= threshold) ++mine.reaching;
          scratch_.counts[thread] = mine.reaching;
          return mine;
        },
        [](const Count& a, const Count& b) { return Count{a.reaching + b.reaching}; });
    if (total.reaching > kMostCandidates) return false;
    block_.each([&](int thread) {
      if (scratch_.counts[thread] == 0) return;
      std::uint32_t slot = 0;
      for (int before = 0; before < thread; ++before) slot += scratch_.counts[before];
      for (std::uint64_t j = thread; j < row_.classes; j += block_.threads())
        if (load(row_.logits + j) >= threshold) scratch_.candidates[slot++] = at(j);
    });
    block_.stride(total.reaching, [&](std::uint64_t i) {
      const Ranked mine = scratch_.candidates[i];
      std::uint32_t rank = 0;
      for (std::uint32_t other = 0; other < total.reaching; ++other)
        if (scratch_.candidates[other].before(mine)) ++rank;
      place(rank, mine);
    });
    return true;
  }

  RETORT_DEVICE void take_one_by_one() {
    Ranked last{INFINITY, 0};
    for (std::uint32_t rank = 0; rank < wanted_; ++rank) {
      const Ranked best = block_.template reduce<Ranked>(
          [&](int thread) {
            Ranked mine;
            for (std::uint64_t j = thread; j < row_.classes; j += block_.threads()) {
              const Ranked x = at(j);
              if (last.before(x) && x.before(mine)) mine = x;
            }
            return mine;
          },
          [](const Ranked& a, const Ranked& b) { return b.before(a) ? b : a; });
      block_.each([&](int thread) {
        if (thread == 0) place(rank, best);
      });
      last = best;
    }
  }

  RETORT_DEVICE void place(std::uint32_t rank, const Ranked& winner) {
    if (rank < row_.k) {
      row_.ids[rank] = winner.id;
      row_.values[rank] = winner.value;
    }
    if (rank == row_.k - 1) scratch_.last = winner;
    if (rank == row_.k) scratch_.after = winner;
  }

  RETORT_DEVICE void sum_tail() {
    const int n = row_.temperatures;
    if (!has_tail()) {
      block_.stride(n, [&](std::uint64_t t) { row_.tail[t] = lowest_float(); });
      return;
    }
    struct Sums {
      double of[kMostTemperatures] = {};
    };
    const Ranked last = scratch_.last;
    const float highest = scratch_.after.value;
    const Sums sums = block_.template reduce<Sums>(
        [&](int thread) {
          constexpr int kFlush = 64;
          Sums mine;
          float recent[kMostTemperatures] = {};
          int pending = 0;
          for (std::uint64_t j = thread; j < row_.classes; j += block_.threads()) {
            const Ranked x = at(j);
            if (!last.before(x)) continue;  // a winner
            for (int t = 0; t < n; ++t)
              recent[t] += expf((x.value - highest) * row_.inverse_temperatures[t]);
            if (++pending == kFlush) {
              flush(mine.of, recent);
              pending = 0;
            }
          }
          flush(mine.of, recent);
          return mine;
        },
        [](const Sums& a, const Sums& b) {
          Sums merged;
          for (int t = 0; t < kMostTemperatures; ++t) merged.of[t] = a.of[t] + b.of[t];
          return merged;
        });
    block_.stride(n, [&](std::uint64_t t) {
      row_.tail[t] = static_cast<float>(static_cast<double>(highest) *
                                            static_cast<double>(row_.inverse_temperatures[t]) +
                                        log(sums.of[t]));
    });
  }
  RETORT_DEVICE static void flush(double* sums, float* recent) {
    for (int t = 0; t < kMostTemperatures; ++t) {
      sums[t] += static_cast<double>(recent[t]);
      recent[t] = 0;
    }
  }

  Block& block_;
  const TopKRow<Logit>& row_;
  TopKScratch& scratch_;
  std::uint32_t wanted_;
};

}  // namespace retort::nn
