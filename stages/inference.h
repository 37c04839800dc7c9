// A loaded model in evaluation mode on batches: what every command does that reads a model's
// answers.
#pragma once

#include <span>

#include <ATen/core/Tensor.h>

#include "io/loader.h"
#include "nn/accelerator.h"
#include "stages/loaded_model.h"

namespace retort::stages {

/// The model's input: pixels of this shape, or ids, as the batch has them. A tensor's own memory,
/// not the batch's: its alignment, and with it the bits, is the same everywhere.
nn::Input input_of(const io::MicroBatch& batch, const io::ImageShape& shape);

/// A model with the tensors and numbers that it answers with. Does not own.
struct Network {
  const nn::Model& model;
  std::span<const at::Tensor> parameters, buffers;  // by layout index
  nn::Precision precision = nn::Precision::fp32;
  nn::Accelerator* accelerator = nullptr;  // where the tensors are; null: the CPU
};
Network network_of(const LoadedModel& model);

/// Logits [n, classes], fp32, contiguous, of a batch's n samples: BatchNorm from running
/// statistics, no dropout, no gradients. Any number of threads at once; each uses its own intra-op
/// threads (one, under Workers), so that a row's bits depend on its batch alone.
at::Tensor infer(const Network& network, const io::ImageShape& shape, const io::MicroBatch& batch);
at::Tensor infer(const LoadedModel& model, const io::MicroBatch& batch);

/// Embeddings [n, embedding_size()] alike, on the CPU; the head's tensors may be undefined.
at::Tensor embed(const Network& network, const io::ImageShape& shape, const io::MicroBatch& batch);

/// As infer(), but on a GPU the logits stay there, and nothing waits for them: they belong to a
/// stream of this thread (nn/accelerator.h).
at::Tensor infer_in_place(const Network& network, const io::ImageShape& shape,
                          const io::MicroBatch& batch);

}  // namespace retort::stages
