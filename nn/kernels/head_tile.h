// The logits of one row and one tile of a head's classes (nn/class_head/head_part.h), by one block
// of threads: their sums over the classes that the row does not list, and the gradient on each. The
// CPU's own passes are nn/class_head/tile_pass.cpp. Logits fp32; running maxima and sums of
// exponentials in fp32, flushed to fp64 every 64 elements. Against the fp64 reference: 1e-5.
#pragma once

#include "nn/class_head/unlisted_gradient.h"
#include "nn/kernels/row_scan.h"

namespace retort::nn {

struct HeadTileSums {
  double exp_sum = 0;       // of exp(z - highest)
  double soft_exp_sum = 0;  // of exp((z - highest) / temperature)
  double total = 0;         // of z
  float highest = lowest_float();
  std::uint32_t first = 0;  // the lowest class with it
};

struct HeadTileRow {
  float* products = nullptr;              // of embedding and weights; [classes]
  std::uint64_t classes = 0;              // of the tile that take part
  const std::uint32_t* ids = nullptr;     // theirs, ascending
  const float* scale = nullptr;           // of each, or null: logit = product * scale
  const float* offset = nullptr;          // of each, or null: logit = product + offset
  const std::uint32_t* listed = nullptr;  // classes that the row lists, ascending, in all tiles
  std::uint32_t listed_count = 0;
};

template <class Block>
class HeadTileKernel {
 public:
  RETORT_DEVICE HeadTileKernel(Block& block, const HeadTileRow& row) : block_(block), row_(row) {
    if (row.classes == 0) return;
    begin_ = lower_bound(row.listed, row.listed_count, row.ids[0]);
    end_ = lower_bound(row.listed, row.listed_count, std::uint64_t{row.ids[row.classes - 1]} + 1);
  }

  /// The same on all threads. `listed_logits`: of the row's listed classes; those of this tile are
  /// written.
  RETORT_DEVICE HeadTileSums sums(float inverse_temperature, double* listed_logits) {
    block_.stride(end_ - begin_, [&](std::uint64_t i) {
      const std::uint64_t at = lower_bound(row_.ids, row_.classes, row_.listed[begin_ + i]);
      if (at < row_.classes && row_.ids[at] == row_.listed[begin_ + i])
        listed_logits[begin_ + i] = static_cast<double>(logit(at));
    });
    const Scan scan = block_.template reduce<Scan>(
        [&](int thread) { return scan_thread(thread, inverse_temperature); },
        [&](const Scan& a, const Scan& b) {
          Scan merged;
          merged.hard = RunningExp::merge(a.hard, b.hard, 1.0f);
          merged.soft = RunningExp::merge(a.soft, b.soft, inverse_temperature);
          merged.total = a.total + b.total;
          const bool right =
              b.hard.max > a.hard.max || (b.hard.max == a.hard.max && b.first < a.first);
          merged.first = right ? b.first : a.first;
          return merged;
        });
    HeadTileSums sums;
    sums.exp_sum = scan.hard.sum;
    sums.soft_exp_sum = scan.soft.sum;
    sums.total = scan.total;
    sums.highest = scan.hard.max;
    sums.first = scan.hard.max == lowest_float() ? 0 : scan.first;
    return sums;
  }

  /// Overwrites the products with the gradient on them. `listed_gradients`: on the row's listed
  /// logits.
  RETORT_DEVICE void gradients(const UnlistedGradient& dense, float inverse_temperature,
                               const float* listed_gradients) {
    block_.stride(row_.classes, [&](std::uint64_t i) {
      float gradient = 0;
      if (const std::uint64_t at = place(row_.ids[i]); at < end_) {
        gradient = listed_gradients[at];
      } else {
        const float below = logit(i) - dense.reference;
        gradient = dense.hard * expf(below) - dense.constant;
        if (dense.soft != 0) gradient += dense.soft * expf(below * inverse_temperature);
      }
      row_.products[i] = row_.scale == nullptr ? gradient : gradient * row_.scale[i];
    });
  }

 private:
  struct Scan {
    RunningExp hard, soft;
    double total = 0;
    std::uint32_t first = 0xffffffffu;
    std::uint32_t padding = 0;
  };
  static_assert(sizeof(Scan) <= kReduceBytes);

  RETORT_DEVICE Scan scan_thread(int thread, float inverse_temperature) {
    constexpr int kFlush = 64;
    Scan mine;
    int pending = 0;
    float total = 0;
    for (std::uint64_t i = thread; i < row_.classes; i += block_.threads()) {
      if (place(row_.ids[i]) < end_) continue;
      const float z = logit(i);
      if (z > mine.hard.max) mine.first = row_.ids[i];
      mine.hard.add(z, 1.0f);
      if (inverse_temperature != 1.0f) mine.soft.add(z, inverse_temperature);
      total += z;
      if (++pending < kFlush) continue;
      flush(mine, total);
      pending = 0;
    }
    flush(mine, total);
    return mine;
  }
  RETORT_DEVICE static void flush(Scan& scan, float& total) {
    scan.hard.flush();
    scan.soft.flush();
    scan.total += static_cast<double>(total);
    total = 0;
  }

  RETORT_DEVICE float logit(std::uint64_t i) const {
    const float product = row_.products[i];
    if (row_.scale != nullptr) return product * row_.scale[i];
    return row_.offset == nullptr ? product : product + row_.offset[i];
  }
  /// Where the row lists a class of this tile; end_: it does not.
  RETORT_DEVICE std::uint64_t place(std::uint32_t id) const {
    for (std::uint64_t at = begin_; at < end_; ++at)
      if (row_.listed[at] == id) return at;
    return end_;
  }
  RETORT_DEVICE static std::uint64_t lower_bound(const std::uint32_t* ids, std::uint64_t count,
                                                 std::uint64_t id) {
    std::uint64_t begin = 0;
    while (count > 0) {
      const std::uint64_t half = count / 2;
      if (ids[begin + half] < id) {
        begin += half + 1;
        count -= half + 1;
      } else {
        count = half;
      }
    }
    return begin;
  }

  Block& block_;
  HeadTileRow row_;
  std::uint64_t begin_ = 0, end_ = 0;  // listed classes of this tile
};

}  // namespace retort::nn
