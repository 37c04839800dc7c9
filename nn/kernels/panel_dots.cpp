#include "nn/kernels/panel_dots.h"

#include <algorithm>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace retort::nn {
namespace {

// 4 x 16 sums in registers at a time; the compiler makes vectors of it.
constexpr std::uint64_t kSmallRows = 4;

void small_block(std::uint64_t features, const float* rows, const PanelLine* columns,
                 float (&sums)[kSmallRows][kPanelWidth]) {
  float own[kSmallRows][kPanelWidth] = {};
  for (std::uint64_t n = 0; n < features; ++n)
    for (std::uint64_t r = 0; r < kSmallRows; ++r)
      for (std::uint64_t j = 0; j < kPanelWidth; ++j)
        own[r][j] = std::fma(rows[n * kPanelWidth + r], columns[n].value[j], own[r][j]);
  std::copy(&own[0][0], &own[0][0] + kSmallRows * kPanelWidth, &sums[0][0]);
}

void plain_dots(std::uint64_t features, const float* rows, const PanelLine* columns,
                std::uint64_t panels, DotBlock& block) {
  for (std::uint64_t r = 0; r < kDotRows; r += kSmallRows)
    for (std::uint64_t p = 0; p < panels; ++p) {
      float sums[kSmallRows][kPanelWidth];
      small_block(features, rows + r, columns + p * features, sums);
      for (std::uint64_t k = 0; k < kSmallRows; ++k)
        std::copy(sums[k], sums[k] + kPanelWidth, block.dot[r + k] + p * kPanelWidth);
    }
}

#if defined(__x86_64__)
// 8 x 48 sums in 24 registers, 3 for a line of the columns, one for a number of a row.
template <int kPanels>
__attribute__((target("avx512f"))) void wide_block(std::uint64_t features, const float* rows,
                                                   const PanelLine* columns, DotBlock& block) {
  __m512 sums[kDotRows][kPanels];
  for (std::uint64_t r = 0; r < kDotRows; ++r)
    for (int p = 0; p < kPanels; ++p) sums[r][p] = _mm512_setzero_ps();
  for (std::uint64_t n = 0; n < features; ++n) {
    __m512 line[kPanels];
#pragma GCC unroll 3
    for (int p = 0; p < kPanels; ++p)
      line[p] = _mm512_load_ps(columns[static_cast<std::uint64_t>(p) * features + n].value);
#pragma GCC unroll 8
    for (std::uint64_t r = 0; r < kDotRows; ++r) {
      const __m512 number = _mm512_set1_ps(rows[n * kPanelWidth + r]);
#pragma GCC unroll 3
      for (int p = 0; p < kPanels; ++p) sums[r][p] = _mm512_fmadd_ps(number, line[p], sums[r][p]);
    }
  }
  for (std::uint64_t r = 0; r < kDotRows; ++r)
    for (int p = 0; p < kPanels; ++p)
      _mm512_store_ps(block.dot[r] + static_cast<std::uint64_t>(p) * kPanelWidth, sums[r][p]);
}

void wide_dots(std::uint64_t features, const float* rows, const PanelLine* columns,
               std::uint64_t panels, DotBlock& block) {
  if (panels == 3) return wide_block<3>(features, rows, columns, block);
  if (panels == 2) return wide_block<2>(features, rows, columns, block);
  return wide_block<1>(features, rows, columns, block);
}

bool has_wide() { return __builtin_cpu_supports("avx512f") != 0; }
#else
bool has_wide() { return false; }
constexpr auto wide_dots = plain_dots;
#endif

}  // namespace

void panel_dots_anywhere(const Panels& rows, std::uint64_t first, const Panels& columns,
                         std::uint64_t panel, std::uint64_t panels, DotBlock& block) {
  plain_dots(rows.features(), rows.panel(first / kPanelWidth)->value + first % kPanelWidth,
             columns.panel(panel), panels, block);
}

void panel_dots(const Panels& rows, std::uint64_t first, const Panels& columns, std::uint64_t panel,
                std::uint64_t panels, DotBlock& block) {
  static const auto dots = has_wide() ? wide_dots : plain_dots;
  dots(rows.features(), rows.panel(first / kPanelWidth)->value + first % kPanelWidth,
       columns.panel(panel), panels, block);
}

std::string_view panel_dots_kind() { return has_wide() ? "avx512" : "fma"; }

}  // namespace retort::nn
