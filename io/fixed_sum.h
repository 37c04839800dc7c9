// Sums of similarity weights that do not depend on the order of the summands: integers of 192 bits
// (methods/similarity-labels.md, "Normaliser").
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <string>

namespace retort::io {

/// A weight w in [0, 1] as trunc(w * 2^144), cut into three parts of 48 bits, the lowest first; the
/// highest is 2^48 for w = 1. Sums of parts stay exact for 2^15 weights (uint64).
struct WeightParts {
  std::array<std::uint64_t, 3> part{};

  static WeightParts of(double w) {
    WeightParts parts;
    const double high = whole(w * 0x1p48, parts.part[2]);
    const double rest = (w * 0x1p48 - high) * 0x1p48;
    const double middle = whole(rest, parts.part[1]);
    whole((rest - middle) * 0x1p48, parts.part[0]);
    return parts;
  }

 private:
  /// The integer part of x in [0, 2^48], as it is and as an integer; without a branch, so that
  /// loops over it become vectors.
  static double whole(double x, std::uint64_t& integer) {
    const double shifted = x + 0x1p52;  // rounds to an integer
    const double rounded = shifted - 0x1p52;
    const double floor = rounded - (rounded > x ? 1.0 : 0.0);
    integer = std::bit_cast<std::uint64_t>(floor + 0x1p52) & ((std::uint64_t{1} << 52) - 1);
    return floor;
  }
};

/// A sum of fewer than 2^46 weights in units of 2^-144.
class FixedSum {
 public:
  FixedSum() = default;
  /// Of sums of parts, each below 2^64.
  explicit FixedSum(const std::array<std::uint64_t, 3>& parts);
  explicit FixedSum(double w) : FixedSum(WeightParts::of(w).part) {}
  /// From 192 bits, the lowest 64 first: what words() gave.
  static FixedSum from_words(const std::array<std::uint64_t, 3>& words);

  FixedSum& operator+=(const FixedSum& other);
  /// `other` must not be larger.
  FixedSum& operator-=(const FixedSum& other);
  bool operator==(const FixedSum&) const = default;
  bool operator<(const FixedSum& other) const {
    return std::lexicographical_compare(words_.rbegin(), words_.rend(), other.words_.rbegin(),
                                        other.words_.rend());
  }
  bool zero() const { return words_[0] == 0 && words_[1] == 0 && words_[2] == 0; }

  /// In units of one, to within 2^-52 of itself.
  double value() const;
  const std::array<std::uint64_t, 3>& words() const { return words_; }
  /// "0x1f", as the golden file writes it.
  std::string hex() const;

 private:
  std::array<std::uint64_t, 3> words_{};
};

}  // namespace retort::io
