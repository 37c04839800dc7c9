// A loaded model in evaluation mode on batches: what every command does that reads a model's
// answers.
#pragma once

#include <ATen/core/Tensor.h>

#include "io/loader.h"
#include "stages/loaded_model.h"

namespace retort::stages {

/// Logits [n, classes], fp32, contiguous, of a batch's n samples: BatchNorm from running
/// statistics, no dropout, no gradients. Any number of threads at once; each uses its own intra-op
/// threads (one, under Workers), so that a row's bits depend on its batch alone.
at::Tensor infer(const LoadedModel& model, const io::MicroBatch& batch);

}  // namespace retort::stages
