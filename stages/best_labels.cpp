#include "stages/best_labels.h"

#include <algorithm>
#include <cmath>

namespace retort::stages {

std::vector<Label> best_labels(std::span<const float> logits, std::uint64_t n) {
  std::vector<Label> labels(logits.size());
  double top = logits[0], sum = 0;
  for (const float z : logits) top = std::max(top, static_cast<double>(z));
  for (const float z : logits) sum += std::exp(static_cast<double>(z) - top);
  for (std::uint32_t c = 0; c < logits.size(); ++c)
    labels[c] = {c, std::exp(static_cast<double>(logits[c]) - top) / sum};
  const auto end =
      labels.begin() + static_cast<std::ptrdiff_t>(std::min<std::uint64_t>(n, labels.size()));
  std::partial_sort(labels.begin(), end, labels.end(), [&](const Label& a, const Label& b) {
    return logits[a.id] > logits[b.id] || (logits[a.id] == logits[b.id] && a.id < b.id);
  });
  labels.erase(end, labels.end());
  return labels;
}

}  // namespace retort::stages
