#include "io/sequence_digest.h"

#include <charconv>
#include <cstring>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"

namespace retort::io {
namespace {

constexpr std::uint64_t kPrime = (std::uint64_t{1} << 61) - 1;
// Evaluation points: any numbers in (1, kPrime - 1) do; part of the format, never to change.
constexpr std::array<std::uint64_t, 4> kPoints = {0x0f3c5a1e9b7d2468, 0x1a2b3c4d5e6f7089,
                                                  0x0d1c2b3a49586776, 0x13579bdf02468ace};

std::uint64_t reduce(std::uint64_t x) {
  x = (x & kPrime) + (x >> 61);
  return x >= kPrime ? x - kPrime : x;
}

std::uint64_t multiply(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return reduce(static_cast<std::uint64_t>(product & kPrime) +
                static_cast<std::uint64_t>(product >> 61));
}

std::uint64_t power(std::uint64_t base, std::uint64_t exponent) {
  std::uint64_t result = 1;
  for (; exponent != 0; exponent >>= 1) {
    if (exponent & 1) result = multiply(result, base);
    base = multiply(base, base);
  }
  return result;
}

}  // namespace

void SequenceDigest::add(std::span<const std::byte> payload,
                         std::span<const std::uint32_t> labels) {
  core::Sha256 sha;
  sha.update_u64(payload.size()).update(payload).update_u64(labels.size());
  for (const std::uint32_t label : labels) sha.update_u64(label);
  const std::string hex = sha.hex();
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    std::uint64_t word = 0;
    std::from_chars(hex.data() + lane * 16, hex.data() + lane * 16 + 16, word, 16);
    lanes_[lane] = reduce(multiply(lanes_[lane], kPoints[lane]) + reduce(word));
  }
  ++count_;
}

void SequenceDigest::append(const SequenceDigest& next) {
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane)
    lanes_[lane] =
        reduce(multiply(lanes_[lane], power(kPoints[lane], next.count_)) + next.lanes_[lane]);
  count_ += next.count_;
}

std::string SequenceDigest::text() const {
  return fmt::format("{}:{:016x}{:016x}{:016x}{:016x}", count_, lanes_[0], lanes_[1], lanes_[2],
                     lanes_[3]);
}

SequenceDigest SequenceDigest::parse(std::string_view text, const std::string& where) {
  SequenceDigest digest;
  const std::size_t colon = text.find(':');
  bool good = colon != std::string_view::npos && text.size() == colon + 65;
  const auto number = [&](std::size_t begin, std::size_t end, int base, std::uint64_t& value) {
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, value, base);
    good = good && error == std::errc() && stop == text.data() + end;
  };
  if (good) number(0, colon, 10, digest.count_);
  for (std::size_t lane = 0; good && lane < 4; ++lane) {
    number(colon + 1 + lane * 16, colon + 17 + lane * 16, 16, digest.lanes_[lane]);
    good = good && digest.lanes_[lane] < kPrime;
  }
  if (!good) throw core::DataError(fmt::format("{}: a malformed digest of samples", where));
  return digest;
}

}  // namespace retort::io
