// Dot products in fp64 of vectors in fp32, features in ascending order: products of fp32 numbers
// are exact in fp64, so the bits depend on the order of the sums alone, fused or not
// (methods/similarity-labels.md, "Exact definition").
#pragma once

#include <cstdint>

#include "nn/kernels/cpu_kind.h"

namespace retort::nn {

inline constexpr std::uint64_t kSideBySide = 16;

/// dots[k]: `own` with others[k], each of so many numbers. `next`: those of the next call, which
/// lie anywhere: they are fetched meanwhile.
void exact_dots(std::uint64_t features, const float* own, const float* const (&others)[kSideBySide],
                const float* const (&next)[kSideBySide], double (&dots)[kSideBySide],
                CpuKind kind = cpu_kind());

}  // namespace retort::nn
