// From a teacher's logits to encoded rows of the form that a capture asks for
// (methods/topk-distillation.md, "Captured per sample").
#pragma once

#include <span>
#include <string>

#include "io/logit_store.h"
#include "stages/best_classes.h"
#include "stages/capture.h"

namespace retort::stages {

/// Rows of the best classes, top_k or top_h.
io::EncodedRows encode_best(const io::LogitLayout& layout, std::size_t samples, BestClasses best);
/// Rows of `logits` [samples, classes]. top_k: the best classes and the tail. sampled: M draws with
/// replacement, whose uniforms depend on (seed, pass, sample id) alone. top_h: the best labels with
/// their softmax at temperature 1 over all classes. DataError that names the samples whose logits
/// are not finite.
io::EncodedRows encode_batch(const Capture& capture, std::uint64_t pass,
                             const io::MicroBatch& batch, std::span<const float> logits);

/// Digest of the logical content of encoded rows, as a reader decodes them, whatever form the ids
/// have and wherever shards were cut (io/sequence_digest.h).
std::string rows_digest(const io::LogitLayout& layout, const io::EncodedRows& rows);

}  // namespace retort::stages
