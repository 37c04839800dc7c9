// The loss of distillation on stored answers, methods/topk-distillation.md, equations (1) to (4):
// alpha * hard + (1 - alpha) * soft + beta * unlabelled.
#pragma once

#include <memory>

#include "io/logit_store.h"
#include "nn/kernels/draws.h"
#include "nn/loss.h"
#include "stages/hard_labels.h"
#include "stages/objective.h"

namespace retort::stages {

enum class SoftTail { residual, uniform, renormalise, renormalise_stored, sampled };
enum class Unlisted { refuse, interpolate };

struct DistillLoss {
  double alpha = 0.75;
  double beta = 0.5;
  SoftTail tail = SoftTail::residual;
  double temperature = 1;
  nn::SoftScale scale = nn::SoftScale::temperature_squared;
  Unlisted unlisted = Unlisted::refuse;                         // of tails that were stored
  nn::Normalisation sampled_weights = nn::Normalisation::none;  // of draws
  nn::UnlabelledWeights unlabelled_weights = nn::UnlabelledWeights::renormalised;
};

/// `labels` and `logits` of the labelled rows, `unlabelled` of the others (nullptr: there are
/// none); all and `loss` must outlive the objective. UsageError: rows of another form than the tail
/// needs, a temperature that these rows don't allow (page, "Another temperature than at capture").
std::unique_ptr<Objective> make_distill_objective(const DistillLoss& loss, const HardLabels& labels,
                                                  const io::LogitStore& logits,
                                                  const io::LogitStore* unlabelled);

}  // namespace retort::stages
