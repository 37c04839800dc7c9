// In which numbers convolutions and linear layers are computed.
#pragma once

#include <string>

#include "core/options.h"

namespace retort::nn {

/// bf16: inputs, weights and results of convolutions and linear layers are rounded to bfloat16 (to
/// the nearest, ties to even), products are summed in fp32 or better by the backend; so are their
/// gradients. Everything else (weights that are kept and updated, sums of gradients, BatchNorm,
/// other layers, losses, optimiser) stays fp32 or fp64.
enum class Precision { fp32, bf16 };

/// Half the distance between 1 and the next bf16: the largest relative error of one rounding.
inline constexpr double kBf16Rounding = 1.0 / 256;

/// Declares --precision.
void declare_precision(core::OptionTable& table, Precision* precision);

/// Whether LibTorch sums the products of a bf16 convolution in fp32 on this CPU. Without AVX-512 it
/// does not: there the rounded numbers are computed with in fp32.
bool has_bf16_convolutions();

/// A line to warn with if `precision` is computed without instructions for it on this CPU; empty
/// otherwise.
std::string precision_warning(Precision precision);

}  // namespace retort::nn
