#include "nn/similarity/candidates.h"

#include <algorithm>
#include <cmath>

namespace retort::nn {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool better(const Candidates::Entry& a, const Candidates::Entry& b) { return a.cosine > b.cosine; }

/// The largest fp32 number that is not above.
float below(double value) {
  const auto rounded = static_cast<float>(value);
  return static_cast<double>(rounded) > value ? std::nextafter(rounded, -kInfinity) : rounded;
}

}  // namespace

Candidates::Candidates(std::uint64_t rows, std::uint32_t most, double bound, double least)
    : most_(most),
      room_(most == 0 ? 0 : 2 * std::uint64_t{most} + 32),
      bound_(bound),
      thresholds_(rows, most == 0 ? kInfinity : below(least - bound)),
      filled_(rows, 0),
      entries_(rows * room_) {}

void Candidates::raise(std::uint64_t row, double cosine) {
  thresholds_[row] = std::max(thresholds_[row], below(cosine));
}

void Candidates::prune(std::uint64_t row) {
  Entry* const begin = entries_.data() + row * room_;
  Entry* const end = begin + filled_[row];
  if (filled_[row] >= most_ && most_ > 0) {
    std::nth_element(begin, begin + (most_ - 1), end, better);
    raise(row, static_cast<double>(begin[most_ - 1].cosine) - 2 * bound_);
  }
  const float least = thresholds_[row];
  const auto* const kept =
      std::remove_if(begin, end, [least](const Entry& entry) { return entry.cosine < least; });
  filled_[row] = static_cast<std::uint32_t>(kept - begin);
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
