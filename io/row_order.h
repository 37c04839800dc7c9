// In which order the rows of a batch are read from a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace retort::io {

/// One row wanted: its sample, and where in the caller's spans it goes.
struct WantedRow {
  std::uint64_t sample;
  std::size_t place;
  std::uint64_t at = 0;  // of its bytes in the reader's memory
};

/// Keeps its working space between calls: one for each thread.
class RowOrder {
 public:
  /// Brings `wanted` nearly into the order of samples. Random samples of a shuffled epoch fall
  /// evenly into as many buckets as there are rows: that costs a tenth of what std::sort's
  /// mispredicted branches do, and less than ascending reads save. Neighbours in a dense batch get
  /// a bucket each. `at` is overwritten.
  void arrange(std::vector<WantedRow>& wanted);

 private:
  std::vector<WantedRow> unsorted_;
  std::vector<std::uint32_t> bucket_end_;
};

}  // namespace retort::io
