// The logits of a batch and of some of a head's classes (nn/class_head/device_head.h): the sums of
// a row over the classes that it does not list, by one block of threads, and the gradient on each.
// The CPU's own passes are nn/class_head/tile_pass.cpp. Logits fp32; exponentials in fp32,
// summed to fp64 every eight elements. Against the fp64 reference: 1e-5.
#pragma once

#include "nn/class_head/unlisted_gradient.h"
#include "nn/kernels/class_rows.h"
#include "nn/kernels/row_scan.h"

namespace retort::nn {

/// Of a product that is left out of sums: the lowest finite number, which no product comes to.
RETORT_DEVICE inline float left_out() { return -3.402823466e+38f; }

struct HeadLogits {
  std::uint64_t rows = 0, classes = 0, stride = 0;
  float* products = nullptr;           // of embeddings and weights; [rows, stride]
  const std::uint32_t* ids = nullptr;  // of each class, ascending; or null: first_id, ...
  std::uint64_t first_id = 0;
  const float* scale = nullptr;   // of each class, or null: logit = product * scale
  const float* offset = nullptr;  // of each class, or null: logit = product + offset

  bool empty() const { return rows == 0 || classes == 0; }
  RETORT_DEVICE std::uint32_t id(std::uint64_t i) const {
    return ids == nullptr ? static_cast<std::uint32_t>(first_id + i) : ids[i];
  }
  RETORT_DEVICE float logit(std::uint64_t i, float product) const {
    if (scale != nullptr) return product * scale[i];
    return offset == nullptr ? product : product + offset[i];
  }
  /// Where a class stands; `classes`: it is not among these.
  RETORT_DEVICE std::uint64_t find(std::uint32_t wanted) const {
    if (ids == nullptr)
      return wanted >= first_id && wanted - first_id < classes ? wanted - first_id : classes;
    std::uint64_t begin = 0, count = classes;
    while (count > 0) {
      const std::uint64_t half = count / 2;
      if (ids[begin + half] < wanted) {
        begin += half + 1;
        count -= half + 1;
      } else {
        count = half;
      }
    }
    return begin < classes && ids[begin] == wanted ? begin : classes;
  }
};

/// The classes that rows list, one entry for each.
struct ListedEntries {
  std::uint64_t count = 0;
  const std::uint32_t *rows = nullptr, *classes = nullptr;
};

/// Takes a listed logit that is among these to `logits`, and out of the sums.
RETORT_DEVICE inline void leave_out_entry(const HeadLogits& of, const ListedEntries& entries,
                                          std::uint64_t entry, double* logits) {
  const std::uint64_t at = of.find(entries.classes[entry]);
  if (at == of.classes) return;
  float& product = of.products[entries.rows[entry] * of.stride + at];
  logits[entry] = static_cast<double>(of.logit(at, product));
  product = left_out();
}

struct HeadSums {
  double exp_sum = 0;       // of exp(z - highest)
  double soft_exp_sum = 0;  // of exp((z - highest) / temperature)
  double total = 0;         // of z
  float highest = lowest_float();
  std::uint32_t first = 0;  // the lowest class with it
};

template <class Block>
class HeadSumsKernel {
 public:
  RETORT_DEVICE HeadSumsKernel(Block& block, const HeadLogits& logits, std::uint64_t row,
                               float inverse_temperature)
      : block_(block),
        logits_(logits),
        products_(logits.products + row * logits.stride),
        inverse_temperature_(inverse_temperature) {}

  /// Of the classes [begin, end); the same on all threads.
  RETORT_DEVICE HeadSums sums(std::uint64_t begin, std::uint64_t end) {
    Scan mine[Block::kOwn];
    const Peak peak = block_.template reduce<Peak>(
        [&](int thread) {
          Scan& own = mine[Block::own(thread)];
          own = scan_thread(begin + static_cast<std::uint64_t>(thread), end);
          return Peak{own.hard.max, own.first};
        },
        [](const Peak& a, const Peak& b) {
          const bool right = b.highest > a.highest || (b.highest == a.highest && b.first < a.first);
          return right ? b : a;
        });
    // All relative to the highest of the block, so that the rest are plain sums.
    const Totals totals = block_.template reduce<Totals>(
        [&](int thread) {
          Scan& own = mine[Block::own(thread)];
          own.hard.raise(peak.highest, 1.0f);
          own.soft.raise(peak.highest, inverse_temperature_);
          return Totals{own.hard.sum, own.soft.sum, own.total};
        },
        [](const Totals& a, const Totals& b) {
          return Totals{a.exp_sum + b.exp_sum, a.soft_exp_sum + b.soft_exp_sum, a.total + b.total};
        });
    HeadSums sums;
    sums.exp_sum = totals.exp_sum;
    sums.soft_exp_sum = totals.soft_exp_sum;
    sums.total = totals.total;
    sums.highest = peak.highest;
    sums.first = peak.highest == lowest_float() ? 0 : peak.first;
    return sums;
  }

 private:
  struct Scan {
    RunningExp hard, soft;
    double total = 0;
    std::uint32_t first = 0xffffffffu;
  };
  struct Peak {
    float highest = lowest_float();
    std::uint32_t first = 0xffffffffu;
  };
  struct Totals {
    double exp_sum = 0, soft_exp_sum = 0, total = 0;
  };

  // Some at a time: the loads of all are under way together, and the maximum moves once.
  RETORT_DEVICE Scan scan_thread(std::uint64_t begin, std::uint64_t end) {
    constexpr int kTogether = 8;
    const auto step = static_cast<std::uint64_t>(block_.threads());
    Scan mine;
    for (std::uint64_t i = begin; i < end; i += kTogether * step) {
      float z[kTogether];
      float total = 0, highest = mine.hard.max;
      std::uint64_t at = end;
      for (int k = 0; k < kTogether; ++k) {
        const std::uint64_t place = i + static_cast<std::uint64_t>(k) * step;
        const float product = place < end ? products_[place] : left_out();
        z[k] = lowest_float();
        if (product == left_out()) continue;
        z[k] = logits_.logit(place, product);
        total += z[k];
        if (z[k] > highest) {
          highest = z[k];
          at = place;
        }
      }
      if (at < end) mine.first = logits_.id(at);
      mine.hard.raise(highest, 1.0f);
      for (const float x : z) mine.hard.add_below(x, 1.0f);
      mine.hard.flush();
      if (inverse_temperature_ != 1.0f) {
        mine.soft.raise(highest, inverse_temperature_);
        for (const float x : z) mine.soft.add_below(x, inverse_temperature_);
        mine.soft.flush();
      }
      mine.total += static_cast<double>(total);
    }
    return mine;
  }

  Block& block_;
  const HeadLogits& logits_;
  const float* products_;
  float inverse_temperature_;
};

/// Where gradients on products go, each [rows, stride] as the logits.
struct HeadGradients {
  float* fp32 = nullptr;      // may be the products; or null
  Bf16* bf16 = nullptr;       // as factors of products; or null
  float* split = nullptr;     // the same: high, high and low parts of all; or null
  std::uint64_t numbers = 0;  // rows * stride
  RETORT_DEVICE void put(std::uint64_t at, float value) const {
    if (fp32 != nullptr) fp32[at] = value;
    if (bf16 != nullptr) store(bf16 + at, value);
    if (split == nullptr) return;
    const Split parts = nn::split(value);
    split[at] = split[numbers + at] = parts.high;
    split[2 * numbers + at] = parts.low;
  }
};

/// On the class i of a row, as if the row listed none.
RETORT_DEVICE inline float unlisted_gradient(const HeadLogits& of, std::uint64_t row,
                                             std::uint64_t i, const UnlistedGradient& dense,
                                             float inverse_temperature) {
  const float below = of.logit(i, of.products[row * of.stride + i]) - dense.reference;
  float gradient = dense.hard * expf(below) - dense.constant;
  if (dense.soft != 0) gradient += dense.soft * expf(below * inverse_temperature);
  return of.scale == nullptr ? gradient : gradient * of.scale[i];
}

/// Puts the gradient on a listed logit, where it is among these, over what unlisted_gradient()
/// said.
RETORT_DEVICE inline void put_listed_gradient(const HeadLogits& of, const ListedEntries& entries,
                                              std::uint64_t entry, const float* gradients,
                                              const HeadGradients& to) {
  const std::uint64_t at = of.find(entries.classes[entry]);
  if (at == of.classes) return;
  const float gradient = gradients[entry];
  to.put(entries.rows[entry] * of.stride + at,
         of.scale == nullptr ? gradient : gradient * of.scale[at]);
}

}  // namespace retort::nn
