// Embeddings divided by their lengths, as a head of cosines takes them, and the way back of their
// gradient: with x = length * unit, dx = (du - unit (unit du)) / length.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace retort::nn {

class UnitRows {
 public:
  /// `embeddings`: [rows, features].
  UnitRows(std::uint64_t features, std::span<const float> embeddings);

  std::span<const float> rows() const { return rows_; }
  /// The gradient on rows() becomes that on what was given. A length below nn::kLeastLength counts
  /// as a constant of that size.
  void to_given(std::span<float> gradient) const;

 private:
  std::uint64_t features_;
  std::vector<float> rows_;
  std::vector<double> lengths_;
};

}  // namespace retort::nn
