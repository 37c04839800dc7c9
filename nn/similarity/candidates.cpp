#include "nn/similarity/candidates.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>

#include "nn/kernels/panel_dots.h"

namespace retort::nn {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The largest fp32 number that is not above.
float below(double value) {
  const auto rounded = static_cast<float>(value);
  return static_cast<double>(rounded) > value ? std::nextafter(rounded, -kInfinity) : rounded;
}

std::uint32_t count_from(std::span<const float> values, float least) {
  std::uint32_t count = 0;
  for (const float value : values) count += value >= least ? 1 : 0;
  return count;
}

/// A number that at least `most` of the values reach, and that is not further below the `most`-th
/// largest than `near`: by halves, since counting is what vectors do fast.
float near_the_last(std::span<const float> values, std::uint32_t most, float near) {
  const auto [least, largest] = std::minmax_element(values.begin(), values.end());
  float low = *least, high = *largest;
  if (count_from(values, high) >= most) return high;
  while (high - low > near) {
    const float middle = low + (high - low) * 0.5F;
    if (middle <= low || middle >= high) break;
    (count_from(values, middle) >= most ? low : high) = middle;
  }
  return low;
}

}  // namespace

Candidates::Candidates(std::uint64_t rows, std::uint32_t most, double bound, double least)
    : most_(most),
      room_(most == 0 ? 0 : 2 * std::uint64_t{most} + 32),
      bound_(bound),
      thresholds_(rows + kDotColumns<float>, most == 0 ? kInfinity : below(least - bound)),
      filled_(rows, 0),
      cosines_(rows * room_),
      ids_(rows * room_) {}

void Candidates::raise(std::uint64_t row, double cosine) {
  thresholds_[row] = std::max(thresholds_[row], below(cosine));
}

void Candidates::prune(std::uint64_t row, double worst) {
  raise(row, worst - bound_);
  float* const cosines = cosines_.data() + row * room_;
  std::uint32_t* const ids = ids_.data() + row * room_;
  const std::uint32_t count = filled_[row];
  if (most_ > 0 && count >= most_) {
    const float last = near_the_last({cosines, count}, most_, static_cast<float>(bound_ / 4));
    raise(row, static_cast<double>(last) - 2 * bound_);
  }
  const float least = thresholds_[row];
  std::uint32_t kept = 0;
  for (std::uint32_t i = 0; i < count; ++i) {  // without a branch
    const float cosine = cosines[i];
    cosines[kept] = cosine;
    ids[kept] = ids[i];
    kept += cosine >= least ? 1 : 0;
  }
  filled_[row] = kept;
}

void Candidates::sort(std::uint64_t row) {
  // Both in one number, which sorts fast.
  thread_local std::vector<std::uint64_t> both;
  both.resize(filled_[row]);
  float* const cosines = cosines_.data() + row * room_;
  std::uint32_t* const ids = ids_.data() + row * room_;
  for (std::size_t i = 0; i < both.size(); ++i)
    both[i] = std::uint64_t{ids[i]} << 32 | std::bit_cast<std::uint32_t>(cosines[i]);
  std::sort(both.begin(), both.end());
  for (std::size_t i = 0; i < both.size(); ++i) {
    ids[i] = static_cast<std::uint32_t>(both[i] >> 32);
    cosines[i] = std::bit_cast<float>(static_cast<std::uint32_t>(both[i]));
  }
}

void Candidates::take_above(std::uint64_t row, std::uint32_t than,
                            std::vector<std::uint32_t>& taken) {
  const auto all = ids(row);
  const auto first = std::upper_bound(all.begin(), all.end(), than);
  taken.assign(first, all.end());
  filled_[row] = static_cast<std::uint32_t>(first - all.begin());
}

bool Candidates::take(std::uint64_t row, std::uint32_t id) {
  const auto all = ids(row);
  const auto at = std::lower_bound(all.begin(), all.end(), id);
  if (at == all.end() || *at != id) return false;
  float& cosine = cosines_[row * room_ + static_cast<std::uint64_t>(at - all.begin())];
  return std::exchange(cosine, -kInfinity) != -kInfinity;
}

bool Candidates::make_room(std::uint64_t row) {
  prune(row);
  return filled_[row] + most_ / 2 + 8 <= room_;
}

void Candidates::clear(std::uint64_t row, double worst) {
  filled_[row] = 0;
  raise(row, worst - bound_);
}

}  // namespace retort::nn
