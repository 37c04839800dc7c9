// Dot products of many vectors, in fp32 or fp64. Each is one chain of fused multiply-adds over the
// features in ascending order, so its bits are the same wherever its pair lies in a block, in
// either order of the two, and on every CPU that has fused multiply-adds. Of fp32 numbers in fp64
// the products are exact: fused or not is the same.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/kernels/cpu_kind.h"

namespace retort::nn {

template <class T>
inline constexpr std::uint64_t kPanelWidth = 64 / sizeof(T);
inline constexpr std::uint64_t kDotRows = 8;
inline constexpr std::uint64_t kDotPanels = 3;
template <class T>
inline constexpr std::uint64_t kDotColumns = kDotPanels* kPanelWidth<T>;

/// One feature of the vectors of a panel: a line of the cache.
template <class T>
struct alignas(64) PanelLine {
  T value[kPanelWidth<T>];
};

/// Vectors in panels side by side: [panels, features, width], the last panel padded with zeros.
template <class T>
class Panels {
 public:
  Panels() = default;
  Panels(std::uint64_t vectors, std::uint64_t features)
      : features_(features),
        lines_((vectors + kPanelWidth<T> - 1) / kPanelWidth<T> * features, PanelLine<T>{}) {}
  std::uint64_t features() const { return features_; }
  std::uint64_t count() const { return features_ == 0 ? 0 : lines_.size() / features_; }
  const PanelLine<T>* panel(std::uint64_t index) const { return lines_.data() + index * features_; }
  T& at(std::uint64_t vector, std::uint64_t feature) {
    return lines_[vector / kPanelWidth<T> * features_ + feature].value[vector % kPanelWidth<T>];
  }

 private:
  std::uint64_t features_ = 0;
  std::vector<PanelLine<T>> lines_;
};

template <class T>
struct DotBlock {
  alignas(64) T dot[kDotRows][kDotColumns<T>];
};

/// Block b: vectors [first + 8 b, first + 8 b + 8), `first` a multiple of 8, of `rows` with those
/// of panels [panel, panel + panels), at most 3, of `columns`; padding gives zeros. Some tens of
/// blocks at once keep the columns in the first level's cache.
template <class T>
void panel_dots(const Panels<T>& rows, std::uint64_t first, const Panels<T>& columns,
                std::uint64_t panel, std::uint64_t panels, std::span<DotBlock<T>> blocks,
                CpuKind kind = cpu_kind());

}  // namespace retort::nn
