// Dot products of many vectors in fp32. Each is one chain of fused multiply-adds over the features in
// ascending order, so its bits are the same wherever its pair lies in a block, in either order of
// the two, and on every CPU that has fused multiply-adds.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace retort::nn {

inline constexpr std::uint64_t kPanelWidth = 16;
inline constexpr std::uint64_t kDotRows = 8;
inline constexpr std::uint64_t kDotPanels = 3;
inline constexpr std::uint64_t kDotColumns = kDotPanels * kPanelWidth;

/// One feature of the 16 vectors of a panel.
struct alignas(64) PanelLine {
  float value[kPanelWidth];
};

/// Vectors in panels of 16 side by side: [panels, features, 16], the last panel padded with zeros.
class Panels {
 public:
  Panels() = default;
  Panels(std::uint64_t vectors, std::uint64_t features)
      : vectors_(vectors),
        features_(features),
        lines_((vectors + kPanelWidth - 1) / kPanelWidth * features, PanelLine{}) {}
  std::uint64_t vectors() const { return vectors_; }
  std::uint64_t features() const { return features_; }
  std::uint64_t count() const { return features_ == 0 ? 0 : lines_.size() / features_; }
  const PanelLine* panel(std::uint64_t index) const { return lines_.data() + index * features_; }
  float& at(std::uint64_t vector, std::uint64_t feature) {
    return lines_[vector / kPanelWidth * features_ + feature].value[vector % kPanelWidth];
  }

 private:
  std::uint64_t vectors_ = 0, features_ = 0;
  std::vector<PanelLine> lines_;
};

struct DotBlock {
  alignas(64) float dot[kDotRows][kDotColumns];
};

/// Vectors [first, first + 8), `first` a multiple of 8, of `rows` with those of panels
/// [panel, panel + panels), at most 3, of `columns`; padding gives zeros.
void panel_dots(const Panels& rows, std::uint64_t first, const Panels& columns, std::uint64_t panel,
                std::uint64_t panels, DotBlock& block);
/// The same by what every CPU has, where panel_dots() takes more: for tests.
void panel_dots_anywhere(const Panels& rows, std::uint64_t first, const Panels& columns,
                         std::uint64_t panel, std::uint64_t panels, DotBlock& block);
/// What this CPU computes them with: "avx512", "fma".
std::string_view panel_dots_kind();

}  // namespace retort::nn
