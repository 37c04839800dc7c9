// Sums of exp((x - highest) / t) over a row for several temperatures in one pass.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "nn/kernels/row_ops.h"

namespace retort::nn {

// Where 2 t is in the list, exp at t is the square of exp at 2 t: one multiplication instead of an
// exponential, and at most twice its relative error.
template <class T>
class TemperatureSums {
 public:
  explicit TemperatureSums(std::span<const double> temperatures) : terms_(temperatures.size()) {
    order_.resize(terms_.size());
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    std::sort(order_.begin(), order_.end(),
              [&](std::size_t a, std::size_t b) { return temperatures[a] > temperatures[b]; });
    for (std::size_t i = 0; i < terms_.size(); ++i) {
      terms_[i].scale = static_cast<T>(1 / temperatures[i]);
      for (std::size_t j = 0; j < terms_.size(); ++j)
        if (temperatures[j] == 2 * temperatures[i]) terms_[i].root = j;
    }
  }

  void run(const T* x, std::uint64_t n, T highest) {
    for (Term& term : terms_) std::fill_n(term.lanes, kLanes, 0.0);
    for (std::uint64_t begin = 0; begin < n; begin += kBlock) {
      const std::uint64_t count = std::min(kBlock, n - begin);
      for (const std::size_t i : order_) {
        Term& term = terms_[i];
        T* to = term.block;
        if (term.root != kNone) {
          const T* root = terms_[term.root].block;
          for (std::uint64_t j = 0; j < count; ++j) to[j] = root[j] * root[j];
        } else {
          const T scale = term.scale;
          for (std::uint64_t j = 0; j < count; ++j)
            to[j] = fast_exp((x[begin + j] - highest) * scale);
        }
        add_to_lanes(to, count, term.lanes);
      }
    }
  }
  double sum(std::size_t i) { return add_lanes(terms_[i].lanes); }

 private:
  static constexpr std::uint64_t kBlock = 512;  // several blocks fit the first cache
  static constexpr std::size_t kNone = ~std::size_t{0};
  struct Term {
    T scale = 0;
    std::size_t root = kNone;  // index of twice the temperature
    double lanes[kLanes];
    T block[kBlock];
  };
  std::vector<Term> terms_;
  std::vector<std::size_t> order_;  // temperatures descending
};

}  // namespace retort::nn
