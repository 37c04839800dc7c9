#include "nn/kernels/product.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace retort::nn {
namespace {

// Inner indices that are summed before the next block of rows: so that a block of the right factor
// stays in the first level's cache. The sums wait in the result meanwhile, which changes no bit.
constexpr std::int64_t kChunk = 128;
// Columns of the widest block; blocks of rows from which copying the right factor pays where its
// rows would fall into few sets of the cache.
constexpr std::int64_t kMostColumns = 64, kPackedRows = 4, kFewSets = 64;
// A larger left factor does not stay in the second level's cache beside the rest. Where the result
// would, all columns meet some of the inner indices before the next ones, so that it is read from
// further away once.
constexpr std::int64_t kInCache = 1 << 16;

// One block of the result over some inner indices.
struct Block {
  std::int64_t inner;
  ProductLeft left;
  ProductRight right;
  ProductResult result;
  std::int64_t columns;  // of the block
  ProductStart start;
};

struct Shape {
  std::int64_t rows, columns;                    // of a whole block
  void (*add)(std::int64_t rows, const Block&);  // up to `rows`; columns as the block says
};

constexpr std::int64_t kPlainRows = 4, kPlainColumns = 16;

void plain_block(std::int64_t rows, const Block& block) {
  float sums[kPlainRows][kPlainColumns] = {};
  const bool whole = rows == kPlainRows && block.columns == kPlainColumns;
  if (block.start == ProductStart::result)
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t j = 0; j < block.columns; ++j)
        sums[r][j] = block.result.data[r * block.result.row + j];
  if (whole) {
    for (std::int64_t i = 0; i < block.inner; ++i)
      for (std::int64_t r = 0; r < kPlainRows; ++r)
        for (std::int64_t j = 0; j < kPlainColumns; ++j)
          sums[r][j] = std::fma(block.left.data[r * block.left.row + i * block.left.inner],
                                block.right.data[i * block.right.row + j], sums[r][j]);
  } else {
    for (std::int64_t i = 0; i < block.inner; ++i)
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t j = 0; j < block.columns; ++j)
          sums[r][j] = std::fma(block.left.data[r * block.left.row + i * block.left.inner],
                                block.right.data[i * block.right.row + j], sums[r][j]);
  }
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t j = 0; j < block.columns; ++j)
      block.result.data[r * block.result.row + j] = sums[r][j];
}
constexpr Shape kPlain{kPlainRows, kPlainColumns, plain_block};

#if defined(__x86_64__)
#define RETORT_WIDE __attribute__((target("avx512f")))

constexpr std::int64_t kLine = 16;

// kRows rows of kLines lines in up to 24 registers; the last line may be short.
template <int kRows, int kLines>
RETORT_WIDE void wide_block(const Block& block) {
  const auto last =
      static_cast<__mmask16>(0xffffu >> static_cast<unsigned>(kLines * kLine - block.columns));
  const __mmask16 whole = 0xffff;
  const std::int64_t left_row = block.left.row, left_inner = block.left.inner;
  const std::int64_t right_row = block.right.row, inner = block.inner;
  // Unrolled throughout: an array that is only ever indexed by constants stays in registers.
  __m512 sums[kRows][kLines];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int l = 0; l < kLines; ++l)
      sums[r][l] = block.start == ProductStart::result
                       ? _mm512_maskz_loadu_ps(l + 1 == kLines ? last : whole,
                                               block.result.data + r * block.result.row + l * kLine)
                       : _mm512_setzero_ps();
  }
  const float* left = block.left.data;
  const float* right = block.right.data;
  for (std::int64_t i = 0; i < inner; ++i) {
    __m512 line[kLines];
#pragma GCC unroll 4
    for (int l = 0; l < kLines; ++l)
      line[l] = l + 1 == kLines ? _mm512_maskz_loadu_ps(last, right + l * kLine)
                                : _mm512_loadu_ps(right + l * kLine);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m512 number = _mm512_set1_ps(left[r * left_row]);
#pragma GCC unroll 4
      for (int l = 0; l < kLines; ++l) sums[r][l] = _mm512_fmadd_ps(number, line[l], sums[r][l]);
    }
    left += left_inner;
    right += right_row;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int l = 0; l < kLines; ++l)
      _mm512_mask_storeu_ps(block.result.data + r * block.result.row + l * kLine,
                            l + 1 == kLines ? last : whole, sums[r][l]);
  }
}
#undef RETORT_WIDE

constexpr int kWideRows = 6, kWideLines = 4;
using BlockOfShape = void (*)(const Block&);

template <int... kIndex>
constexpr std::array<BlockOfShape, sizeof...(kIndex)> wide_blocks(
    std::integer_sequence<int, kIndex...>) {
  return {wide_block<kIndex / kWideLines + 1, kIndex % kWideLines + 1>...};
}
constexpr auto kWideBlocks = wide_blocks(std::make_integer_sequence<int, kWideRows * kWideLines>());

void any_wide_block(std::int64_t rows, const Block& block) {
  const std::int64_t lines = (block.columns + kLine - 1) / kLine;
  kWideBlocks[static_cast<std::size_t>((rows - 1) * kWideLines + lines - 1)](block);
}
constexpr Shape kWide{kWideRows, kWideLines* kLine, any_wide_block};

#define RETORT_NARROW __attribute__((target("avx2,fma")))

constexpr std::int64_t kShortLine = 8;

// Flags of the first `columns` of a line.
RETORT_NARROW __m256i first_of_line(std::int64_t columns) {
  const __m256i places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(columns)), places);
}

// kRows rows of kLines lines in up to 12 registers; the last line is short if kShort.
template <int kRows, int kLines, bool kShort>
RETORT_NARROW void narrow_block(const Block& block) {
  const __m256i last = first_of_line(block.columns - (kLines - 1) * kShortLine);
  const auto is_short = [](int line) { return kShort && line + 1 == kLines; };
  const std::int64_t left_row = block.left.row, left_inner = block.left.inner;
  const std::int64_t right_row = block.right.row, inner = block.inner;
  __m256 sums[kRows][kLines];
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int l = 0; l < kLines; ++l) {
      const float* from = block.result.data + r * block.result.row + l * kShortLine;
      sums[r][l] = block.start == ProductStart::zero ? _mm256_setzero_ps()
                   : is_short(l)                     ? _mm256_maskload_ps(from, last)
                                                     : _mm256_loadu_ps(from);
    }
  }
  const float* left = block.left.data;
  const float* right = block.right.data;
  for (std::int64_t i = 0; i < inner; ++i) {
    __m256 line[kLines];
#pragma GCC unroll 2
    for (int l = 0; l < kLines; ++l)
      line[l] = is_short(l) ? _mm256_maskload_ps(right + l * kShortLine, last)
                            : _mm256_loadu_ps(right + l * kShortLine);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m256 number = _mm256_broadcast_ss(left + r * left_row);
#pragma GCC unroll 2
      for (int l = 0; l < kLines; ++l) sums[r][l] = _mm256_fmadd_ps(number, line[l], sums[r][l]);
    }
    left += left_inner;
    right += right_row;
  }
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int l = 0; l < kLines; ++l) {
      float* to = block.result.data + r * block.result.row + l * kShortLine;
      if (is_short(l))
        _mm256_maskstore_ps(to, last, sums[r][l]);
      else
        _mm256_storeu_ps(to, sums[r][l]);
    }
  }
}
#undef RETORT_NARROW

constexpr int kNarrowRows = 6, kNarrowLines = 2;

// By rows, lines, and whether the last one is short.
template <int... kIndex>
constexpr std::array<BlockOfShape, sizeof...(kIndex)> narrow_blocks(
    std::integer_sequence<int, kIndex...>) {
  return {narrow_block<kIndex / 4 + 1, kIndex / 2 % kNarrowLines + 1, kIndex % 2 == 1>...};
}
constexpr auto kNarrowBlocks =
    narrow_blocks(std::make_integer_sequence<int, kNarrowRows * kNarrowLines * 2>());

void any_narrow_block(std::int64_t rows, const Block& block) {
  const std::int64_t lines = (block.columns + kShortLine - 1) / kShortLine;
  const std::int64_t is_short = block.columns % kShortLine != 0 ? 1 : 0;
  kNarrowBlocks[static_cast<std::size_t>(((rows - 1) * kNarrowLines + lines - 1) * 2 + is_short)](
      block);
}
constexpr Shape kNarrow{kNarrowRows, kNarrowLines* kShortLine, any_narrow_block};
#else
constexpr Shape kWide = kPlain, kNarrow = kPlain;
#endif

// A block of the right factor side by side, so that it fills the sets of the cache evenly.
void pack(std::int64_t inner, std::int64_t columns, const ProductRight& right, float* to,
          std::int64_t to_row) {
  for (std::int64_t i = 0; i < inner; ++i)
    std::copy_n(right.data + i * right.row, columns, to + i * to_row);
}

void all_blocks(const Shape& blocks, const ProductShape& shape, const ProductLeft& left,
                const ProductRight& right, const ProductResult& result, ProductStart start) {
  alignas(64) float packed[kChunk * kMostColumns];
  const bool packs = shape.rows >= kPackedRows * blocks.rows && right.row % kFewSets == 0;
  const auto add = [&](std::int64_t j, std::int64_t i) {
    Block block{.inner = std::min(kChunk, shape.inner - i),
                .left = left,
                .right = {right.data + i * right.row + j, right.row},
                .result = result,
                .columns = std::min(blocks.columns, shape.columns - j),
                .start = i > 0 ? ProductStart::result : start};
    if (packs) {
      pack(block.inner, block.columns, block.right, packed, blocks.columns);
      block.right = {packed, blocks.columns};
    }
    for (std::int64_t r = 0; r < shape.rows; r += blocks.rows) {
      block.left.data = left.data + r * left.row + i * left.inner;
      block.result.data = result.data + r * result.row + j;
      blocks.add(std::min(blocks.rows, shape.rows - r), block);
    }
  };
  // An empty sum still has to be written.
  const std::int64_t inner = std::max<std::int64_t>(shape.inner, 1);
  if (shape.rows * shape.inner > kInCache && shape.rows * shape.columns <= kInCache) {
    for (std::int64_t i = 0; i < inner; i += kChunk)
      for (std::int64_t j = 0; j < shape.columns; j += blocks.columns) add(j, i);
  } else {
    for (std::int64_t j = 0; j < shape.columns; j += blocks.columns)
      for (std::int64_t i = 0; i < inner; i += kChunk) add(j, i);
  }
}

}  // namespace

void product(const ProductShape& shape, const ProductLeft& left, const ProductRight& right,
             const ProductResult& result, ProductStart start, CpuKind kind) {
  all_blocks(kind == CpuKind::avx512 ? kWide
             : kind == CpuKind::avx2 ? kNarrow
                                     : kPlain,
             shape, left, right, result, start);
}

void transpose(std::int64_t rows, std::int64_t columns, const float* from, std::int64_t from_row,
               float* to, std::int64_t to_row) {
  constexpr std::int64_t kBlock = 16;
  for (std::int64_t r = 0; r < rows; r += kBlock)
    for (std::int64_t c = 0; c < columns; c += kBlock)
      for (std::int64_t y = r; y < std::min(rows, r + kBlock); ++y)
        for (std::int64_t x = c; x < std::min(columns, c + kBlock); ++x)
          to[x * to_row + y] = from[y * from_row + x];
}

}  // namespace retort::nn
