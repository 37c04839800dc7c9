#include "nn/kernels/panel_dots.h"

#include <algorithm>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace retort::nn {
namespace {

// Features that are summed before the next block of rows: lines of three panels that stay in the
// first level's cache. The sums wait in the block meanwhile, which changes no bit of them.
constexpr std::uint64_t kChunk = 128;

// One block over some features: adds to the block's sums.
template <class T>
using AddBlock = void (*)(std::uint64_t features, const T* rows, const PanelLine<T>* columns,
                          std::uint64_t stride, DotBlock<T>& block);

// 4 rows of a panel in registers at a time; the compiler makes vectors of it.
constexpr std::uint64_t kSmallRows = 4;

template <class T>
void small_block(std::uint64_t features, const T* rows, const PanelLine<T>* columns,
                 DotBlock<T>& block, std::uint64_t row, std::uint64_t column) {
  constexpr std::uint64_t kWidth = kPanelWidth<T>;
  T own[kSmallRows][kWidth];
  for (std::uint64_t r = 0; r < kSmallRows; ++r)
    for (std::uint64_t j = 0; j < kWidth; ++j) own[r][j] = block.dot[row + r][column + j];
  for (std::uint64_t n = 0; n < features; ++n)
    for (std::uint64_t r = 0; r < kSmallRows; ++r)
      for (std::uint64_t j = 0; j < kWidth; ++j)
        own[r][j] = std::fma(rows[n * kWidth + row + r], columns[n].value[j], own[r][j]);
  for (std::uint64_t r = 0; r < kSmallRows; ++r)
    for (std::uint64_t j = 0; j < kWidth; ++j) block.dot[row + r][column + j] = own[r][j];
}

template <class T, std::uint64_t kPanels>
void plain_block(std::uint64_t features, const T* rows, const PanelLine<T>* columns,
                 std::uint64_t stride, DotBlock<T>& block) {
  for (std::uint64_t r = 0; r < kDotRows; r += kSmallRows)
    for (std::uint64_t p = 0; p < kPanels; ++p)
      small_block(features, rows, columns + p * stride, block, r, p * kPanelWidth<T>);
}

#if defined(__x86_64__)
#define RETORT_WIDE __attribute__((target("avx512f")))

template <class T>
struct Wide;
template <>
struct Wide<float> {
  using Register = __m512;
  RETORT_WIDE static Register load(const float* from) { return _mm512_load_ps(from); }
  RETORT_WIDE static void store(float* to, Register x) { _mm512_store_ps(to, x); }
  RETORT_WIDE static Register all(float x) { return _mm512_set1_ps(x); }
  RETORT_WIDE static Register add(Register x, Register y, Register sum) {
    return _mm512_fmadd_ps(x, y, sum);
  }
};
template <>
struct Wide<double> {
  using Register = __m512d;
  RETORT_WIDE static Register load(const double* from) { return _mm512_load_pd(from); }
  RETORT_WIDE static void store(double* to, Register x) { _mm512_store_pd(to, x); }
  RETORT_WIDE static Register all(double x) { return _mm512_set1_pd(x); }
  RETORT_WIDE static Register add(Register x, Register y, Register sum) {
    return _mm512_fmadd_pd(x, y, sum);
  }
};

// 8 rows of 3 panels in 24 registers, 3 for a line of the columns, one for a number of a row.
template <class T, std::uint64_t kPanels>
RETORT_WIDE void wide_block(std::uint64_t features, const T* rows, const PanelLine<T>* columns,
                            std::uint64_t stride, DotBlock<T>& block) {
  using Register = typename Wide<T>::Register;
  constexpr std::uint64_t kWidth = kPanelWidth<T>;
  Register sums[kDotRows][kPanels];
  for (std::uint64_t r = 0; r < kDotRows; ++r)
    for (std::uint64_t p = 0; p < kPanels; ++p)
      sums[r][p] = Wide<T>::load(block.dot[r] + p * kWidth);
  for (std::uint64_t n = 0; n < features; ++n) {
    Register line[kPanels];
#pragma GCC unroll 3
    for (std::uint64_t p = 0; p < kPanels; ++p)
      line[p] = Wide<T>::load(columns[p * stride + n].value);
#pragma GCC unroll 8
    for (std::uint64_t r = 0; r < kDotRows; ++r) {
      const Register number = Wide<T>::all(rows[n * kWidth + r]);
#pragma GCC unroll 3
      for (std::uint64_t p = 0; p < kPanels; ++p)
        sums[r][p] = Wide<T>::add(number, line[p], sums[r][p]);
    }
  }
  for (std::uint64_t r = 0; r < kDotRows; ++r)
    for (std::uint64_t p = 0; p < kPanels; ++p)
      Wide<T>::store(block.dot[r] + p * kWidth, sums[r][p]);
}
#undef RETORT_WIDE

#define RETORT_NARROW __attribute__((target("avx2,fma")))

template <class T>
struct Narrow;
template <>
struct Narrow<float> {
  using Register = __m256;
  RETORT_NARROW static Register load(const float* from) { return _mm256_load_ps(from); }
  RETORT_NARROW static void store(float* to, Register x) { _mm256_store_ps(to, x); }
  RETORT_NARROW static Register all(const float* x) { return _mm256_broadcast_ss(x); }
  RETORT_NARROW static Register add(Register x, Register y, Register sum) {
    return _mm256_fmadd_ps(x, y, sum);
  }
};
template <>
struct Narrow<double> {
  using Register = __m256d;
  RETORT_NARROW static Register load(const double* from) { return _mm256_load_pd(from); }
  RETORT_NARROW static void store(double* to, Register x) { _mm256_store_pd(to, x); }
  RETORT_NARROW static Register all(const double* x) { return _mm256_broadcast_sd(x); }
  RETORT_NARROW static Register add(Register x, Register y, Register sum) {
    return _mm256_fmadd_pd(x, y, sum);
  }
};

// 4 rows of half panels [kFirst, kFirst + kCount) of a line in 12 registers at most, 3 for the
// line's numbers, one for a number of a row.
template <class T, std::uint64_t kFirst, std::uint64_t kCount>
RETORT_NARROW void narrow_half(std::uint64_t features, const T* rows, const PanelLine<T>* columns,
                               std::uint64_t stride, DotBlock<T>& block, std::uint64_t row) {
  using Register = typename Narrow<T>::Register;
  constexpr std::uint64_t kWidth = kPanelWidth<T>, kHalf = kWidth / 2;
  Register sums[kSmallRows][kCount];
#pragma GCC unroll 4
  for (std::uint64_t r = 0; r < kSmallRows; ++r)
#pragma GCC unroll 3
    for (std::uint64_t h = 0; h < kCount; ++h)
      sums[r][h] = Narrow<T>::load(block.dot[row + r] + (kFirst + h) * kHalf);
  for (std::uint64_t n = 0; n < features; ++n) {
    Register line[kCount];
#pragma GCC unroll 3
    for (std::uint64_t h = 0; h < kCount; ++h)
      line[h] =
          Narrow<T>::load(columns[(kFirst + h) / 2 * stride + n].value + (kFirst + h) % 2 * kHalf);
#pragma GCC unroll 4
    for (std::uint64_t r = 0; r < kSmallRows; ++r) {
      const Register number = Narrow<T>::all(rows + n * kWidth + row + r);
#pragma GCC unroll 3
      for (std::uint64_t h = 0; h < kCount; ++h)
        sums[r][h] = Narrow<T>::add(number, line[h], sums[r][h]);
    }
  }
#pragma GCC unroll 4
  for (std::uint64_t r = 0; r < kSmallRows; ++r)
#pragma GCC unroll 3
    for (std::uint64_t h = 0; h < kCount; ++h)
      Narrow<T>::store(block.dot[row + r] + (kFirst + h) * kHalf, sums[r][h]);
}
#undef RETORT_NARROW

template <class T, std::uint64_t kPanels>
void narrow_block(std::uint64_t features, const T* rows, const PanelLine<T>* columns,
                  std::uint64_t stride, DotBlock<T>& block) {
  for (std::uint64_t r = 0; r < kDotRows; r += kSmallRows) {
    if constexpr (kPanels == 3) {
      narrow_half<T, 0, 3>(features, rows, columns, stride, block, r);
      narrow_half<T, 3, 3>(features, rows, columns, stride, block, r);
    } else {
      narrow_half<T, 0, 2>(features, rows, columns, stride, block, r);
      if constexpr (kPanels == 2) narrow_half<T, 2, 2>(features, rows, columns, stride, block, r);
    }
  }
}

template <class T>
AddBlock<T> wide_of(std::uint64_t panels) {
  return panels == 3 ? wide_block<T, 3> : panels == 2 ? wide_block<T, 2> : wide_block<T, 1>;
}
template <class T>
AddBlock<T> narrow_of(std::uint64_t panels) {
  return panels == 3 ? narrow_block<T, 3> : panels == 2 ? narrow_block<T, 2> : narrow_block<T, 1>;
}
#else
template <class T>
AddBlock<T> wide_of(std::uint64_t) {
  return nullptr;
}
template <class T>
AddBlock<T> narrow_of(std::uint64_t) {
  return nullptr;
}
#endif

template <class T>
AddBlock<T> plain_of(std::uint64_t panels) {
  return panels == 3 ? plain_block<T, 3> : panels == 2 ? plain_block<T, 2> : plain_block<T, 1>;
}

template <class T>
void all_blocks(AddBlock<T> add, const Panels<T>& rows, std::uint64_t first,
                const Panels<T>& columns, std::uint64_t panel, std::span<DotBlock<T>> blocks) {
  std::fill(blocks.begin(), blocks.end(), DotBlock<T>{});
  constexpr std::uint64_t kWidth = kPanelWidth<T>;
  const std::uint64_t features = rows.features();
  for (std::uint64_t from = 0; from < features; from += kChunk) {
    const std::uint64_t count = std::min(kChunk, features - from);
    for (std::uint64_t b = 0; b < blocks.size(); ++b) {
      const std::uint64_t row = first + b * kDotRows;
      add(count, rows.panel(row / kWidth)[from].value + row % kWidth, columns.panel(panel) + from,
          columns.features(), blocks[b]);
    }
  }
}

}  // namespace

template <class T>
void panel_dots(const Panels<T>& rows, std::uint64_t first, const Panels<T>& columns,
                std::uint64_t panel, std::uint64_t panels, std::span<DotBlock<T>> blocks,
                CpuKind kind) {
  const auto choose = kind == CpuKind::avx512 ? wide_of<T>
                      : kind == CpuKind::avx2 ? narrow_of<T>
                                              : plain_of<T>;
  all_blocks(choose(panels), rows, first, columns, panel, blocks);
}

#define RETORT_INSTANTIATE(T)                                                                   \
  template void panel_dots<T>(const Panels<T>&, std::uint64_t, const Panels<T>&, std::uint64_t, \
                              std::uint64_t, std::span<DotBlock<T>>, CpuKind);
RETORT_INSTANTIATE(float)
RETORT_INSTANTIATE(double)
#undef RETORT_INSTANTIATE

}  // namespace retort::nn
