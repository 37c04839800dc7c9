#include "nn/similarity/class_columns.h"

#include <algorithm>
#include <cmath>

namespace retort::nn {

ClassTile make_class_tile(core::Range classes, std::uint64_t features,
                          std::span<const float> weight, std::span<const float> bias,
                          double norm_floor, std::vector<std::uint64_t>& faulty) {
  const std::uint64_t count = classes.size();
  ClassTile tile;
  tile.classes = classes;
  tile.features = features + (bias.empty() ? 0 : 1);
  tile.weight.resize(tile.features * count);
  tile.norm.resize(count);
  tile.degenerate.assign(count, 0);
  for (std::uint64_t k = 0; k < count; ++k) {
    double squares = 0;
    bool finite = true;
    for (std::uint64_t n = 0; n < tile.features; ++n) {
      const float value = n < features ? weight[k * features + n] : bias[k];
      finite = finite && std::isfinite(value);
      tile.weight[k * tile.features + n] = value;
      squares += static_cast<double>(value) * static_cast<double>(value);
    }
    tile.norm[k] = std::sqrt(squares);
    if (!finite) faulty.push_back(classes.begin + k);
    if (!finite || tile.norm[k] <= norm_floor) {
      // Zeros meet no other column; what they would give is masked anyway.
      std::fill_n(tile.weight.data() + k * tile.features, tile.features, 0.0F);
      tile.norm[k] = 1;
      tile.degenerate[k] = 1;
    }
  }
  return tile;
}

double cosine(const ClassTile& a, std::uint64_t i, const ClassTile& b, std::uint64_t j) {
  double dot = 0;
  for (std::uint64_t n = 0; n < a.features; ++n)
    dot += static_cast<double>(a.column(i)[n]) * static_cast<double>(b.column(j)[n]);
  return cosine_of(dot, a.norm[i], b.norm[j]);
}

}  // namespace retort::nn
