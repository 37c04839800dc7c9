// The K stored classes of one row, of the student or the teacher, and their softmax.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "nn/kernels/row_ops.h"

namespace retort::nn {

// The K values of a head: their distance to the highest in fp64, exp of it in T by the vectorised
// pass, padded with -inf to whole lanes.
template <class T>
class Head {
 public:
  explicit Head(std::uint64_t k)
      : value_(k),
        exp_((k + kLanes - 1) / kLanes * kLanes, -std::numeric_limits<T>::infinity()),
        distance_(exp_) {}

  double& operator[](std::size_t k) { return value_[k]; }
  double operator[](std::size_t k) const { return value_[k]; }

  /// log-sum-exp of the values; the others are valid after it. A NaN comes out as NaN.
  double log_sum_exp() {
    highest_ = value_[0];
    for (const double value : value_) highest_ = value > highest_ ? value : highest_;
    for (std::size_t k = 0; k < value_.size(); ++k)
      distance_[k] = static_cast<T>(value_[k] - highest_);
    const double sum = row_exp(distance_.data(), exp_.size(), T{0}, T{1}, exp_.data());
    return highest_ + std::log(sum);
  }
  double highest() const { return highest_; }
  /// exp(value - log_normaliser) = probability(k, scale(log_normaliser)).
  double scale(double log_normaliser) const { return std::exp(highest_ - log_normaliser); }
  double probability(std::size_t k, double scale) const {
    return static_cast<double>(exp_[k]) * scale;
  }

 private:
  std::vector<double> value_;
  std::vector<T> exp_, distance_;
  double highest_ = 0;
};

}  // namespace retort::nn
