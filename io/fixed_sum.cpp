#include "io/fixed_sum.h"

#include <cmath>

#include <fmt/format.h>

namespace retort::io {
namespace {

// The sum of a and b, and the carry of it added to `carry`'s place.
std::uint64_t add(std::uint64_t a, std::uint64_t b, std::uint64_t& carry) {
  const std::uint64_t first = a + b;
  const std::uint64_t sum = first + carry;
  carry = (first < a ? 1U : 0U) + (sum < first ? 1U : 0U);
  return sum;
}

}  // namespace

FixedSum::FixedSum(const std::array<std::uint64_t, 3>& parts) {
  // Part 1 begins at bit 48, part 2 at bit 96.
  std::uint64_t carry = 0;
  words_[0] = add(parts[0], parts[1] << 48, carry);
  words_[1] = add(parts[1] >> 16, parts[2] << 32, carry);
  words_[2] = (parts[2] >> 32) + carry;
}

FixedSum FixedSum::from_words(const std::array<std::uint64_t, 3>& words) {
  FixedSum sum;
  sum.words_ = words;
  return sum;
}

FixedSum& FixedSum::operator+=(const FixedSum& other) {
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < words_.size(); ++i)
    words_[i] = add(words_[i], other.words_[i], carry);
  return *this;
}

FixedSum& FixedSum::operator-=(const FixedSum& other) {
  std::uint64_t carry = 1;  // two's complement
  for (std::size_t i = 0; i < words_.size(); ++i)
    words_[i] = add(words_[i], ~other.words_[i], carry);
  return *this;
}

double FixedSum::value() const {
  return std::ldexp(static_cast<double>(words_[2]), -16) +
         (std::ldexp(static_cast<double>(words_[1]), -80) +
          std::ldexp(static_cast<double>(words_[0]), -144));
}

std::string FixedSum::hex() const {
  const std::string digits = fmt::format("{:016x}{:016x}{:016x}", words_[2], words_[1], words_[0]);
  const std::size_t first = digits.find_first_not_of('0');
  return "0x" + (first == std::string::npos ? "0" : digits.substr(first));
}

}  // namespace retort::io
