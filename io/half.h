// IEEE 754 half precision for files: conversions that round to nearest, ties to even.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace retort::io {

/// Portable reference: the bits that hardware conversion gives. Subnormals are kept; finite values
/// that round above 65504 become infinity; NaN becomes the quiet NaN of its sign.
constexpr std::uint16_t half_from_float(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x47800000u) return static_cast<std::uint16_t>(sign | 0x7c00u);  // >= 65536
  if (magnitude < 0x33000000u) return sign;                                         // < 2^-25
  const std::uint32_t exponent = magnitude >> 23;
  const bool normal = exponent >= 113;
  // Significand with its hidden bit; the low `drop` bits go.
  const std::uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
  const std::uint32_t drop = normal ? 13 : 126 - exponent;
  const std::uint32_t kept = significand >> drop;
  const std::uint32_t rest = significand & ((1u << drop) - 1);
  const std::uint32_t half = 1u << (drop - 1);
  const std::uint32_t up = rest > half || (rest == half && (kept & 1u)) ? 1 : 0;
  // A carry runs from the significand into the exponent, as it should.
  const std::uint32_t base = normal ? ((exponent - 113) << 10) + kept : kept;
  return static_cast<std::uint16_t>(sign | (base + up));
}

constexpr float float_from_half(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = half >> 10 & 31u;
  std::uint32_t significand = half & 0x3ffu;
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000u | significand << 13 |
                                (significand != 0 ? 0x400000u : 0u));
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | significand << 13);
  if (significand == 0) return std::bit_cast<float>(sign);
  const int shift = std::countl_zero(significand) - 21;  // brings the leading bit to bit 10
  significand = significand << shift & 0x3ffu;
  return std::bit_cast<float>(sign | static_cast<std::uint32_t>(113 - shift) << 23 |
                              significand << 13);
}

/// Whole arrays of equal length, in hardware where the build's target has F16C.
void halves_from_floats(std::span<const float> values, std::span<std::uint16_t> halves);
void floats_from_halves(std::span<const std::uint16_t> halves, std::span<float> values);
/// The same from little-endian bytes of any alignment; 2 * values.size() of them.
void floats_from_halves(std::span<const std::byte> halves, std::span<float> values);

}  // namespace retort::io
