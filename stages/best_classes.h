// A teacher's best classes of each sample and the log-sum-exp of the others, from its logits on the
// CPU or on a GPU (methods/topk-distillation.md, "Captured per sample").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/accelerator.h"
#include "stages/capture.h"

namespace retort::stages {

struct BestClasses {
  std::vector<std::uint32_t> ids;  // [samples, k], the best first; equal logits by id
  std::vector<float> values;       // [samples, k], logits
  std::vector<float> tails;        // [samples, temperatures of capture_temperatures()]
};

/// Those that a layout stores; 1 for labels of unlabelled samples, whose probabilities need it.
std::vector<double> capture_temperatures(const io::LogitLayout& layout);
/// Of `logits` [samples, classes]. DataError for logits that are not finite.
BestClasses best_classes(const io::LogitLayout& layout, std::size_t samples,
                         std::span<const float> logits);
/// Of `logits` [samples, classes] on `accelerator`, of which the best ones alone travel back.
/// DataError that names the samples whose logits are not finite.
BestClasses best_classes(nn::Accelerator& accelerator, const Capture& capture,
                         const io::MicroBatch& batch, const at::Tensor& logits);
/// DataError that names the samples, if the logits of any are not finite.
void check_finite(const io::MicroBatch& batch, std::span<const float> logits,
                  std::uint64_t classes);

}  // namespace retort::stages
