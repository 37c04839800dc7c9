#include "io/row_order.h"

#include <algorithm>

namespace retort::io {

void RowOrder::arrange(std::vector<WantedRow>& wanted) {
  constexpr std::uint32_t kFullBucket = 8;
  std::uint64_t least = ~std::uint64_t{0}, most = 0, last = 0;
  bool sorted = true;
  for (const WantedRow& w : wanted) {
    sorted &= w.sample >= last;
    last = w.sample;
    least = std::min(least, w.sample);
    most = std::max(most, w.sample);
  }
  if (sorted) return;
  const std::size_t buckets = wanted.size();
  const double scale = static_cast<double>(buckets) / (static_cast<double>(most - least) + 1);
  bucket_end_.assign(buckets + 1, 0);
  for (WantedRow& w : wanted) {
    w.at = std::min<std::uint64_t>(
        static_cast<std::uint64_t>(static_cast<double>(w.sample - least) * scale), buckets - 1);
    ++bucket_end_[w.at + 1];
  }
  if (*std::max_element(bucket_end_.begin(), bucket_end_.end()) > kFullBucket) {
    std::sort(wanted.begin(), wanted.end(),
              [](const WantedRow& a, const WantedRow& b) { return a.sample < b.sample; });
    return;
  }
  for (std::size_t b = 0; b < buckets; ++b) bucket_end_[b + 1] += bucket_end_[b];
  unsorted_.swap(wanted);
  wanted.resize(buckets);
  for (const WantedRow& w : unsorted_) wanted[bucket_end_[w.at]++] = w;
}

}  // namespace retort::io
