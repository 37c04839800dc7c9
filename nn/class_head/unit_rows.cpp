#include "nn/class_head/unit_rows.h"

#include <algorithm>
#include <cmath>

#include "nn/logit_form.h"

namespace retort::nn {
namespace {

double dot(const float* a, const float* b, std::uint64_t count) {
  double sum = 0;
  for (std::uint64_t n = 0; n < count; ++n)
    sum += static_cast<double>(a[n]) * static_cast<double>(b[n]);
  return sum;
}

}  // namespace

UnitRows::UnitRows(std::uint64_t features, std::span<const float> embeddings)
    : features_(features), rows_(embeddings.begin(), embeddings.end()) {
  for (float* x = rows_.data(); x != rows_.data() + rows_.size(); x += features_) {
    const double length = std::sqrt(dot(x, x, features_));
    // A NaN stays one.
    lengths_.push_back(length < kLeastLength ? kLeastLength : length);
    for (std::uint64_t n = 0; n < features_; ++n)
      x[n] = static_cast<float>(static_cast<double>(x[n]) / lengths_.back());
  }
}

void UnitRows::to_given(std::span<float> gradient) const {
  for (std::size_t row = 0; row < lengths_.size(); ++row) {
    const float* unit = rows_.data() + row * features_;
    float* g = gradient.data() + row * features_;
    const double length = lengths_[row];
    const double along = length > kLeastLength ? dot(unit, g, features_) : 0;
    for (std::uint64_t n = 0; n < features_; ++n)
      g[n] = static_cast<float>((static_cast<double>(g[n]) - static_cast<double>(unit[n]) * along) /
                                length);
  }
}

}  // namespace retort::nn
