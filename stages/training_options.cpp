#include "stages/training_options.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/class_head/class_sample.h"

namespace retort::stages {

using core::OptionEffect;

void TrainingOptions::declare(core::OptionTable& table) {
  table.group("Data and model");
  auto& data_option = table.add("data", &data, "Packed dataset folder");
  data_option.effect = OptionEffect::input;
  data_option.required = true;
  table.add("split", &split, "Split to train on");
  table.add("validation", &validation, "Split to evaluate on while training; empty: none");
  table.add("model", &model, "Architecture (its own options follow at the end)").required = true;
  table
      .add("init", &initial,
           "Weights that training starts from, a model folder or a safetensors file; empty: random")
      .effect = OptionEffect::input;
  table.add_choice("init-head", &initial_head,
                   {{"keep", InitialHead::keep}, {"new", InitialHead::fresh}},
                   "The last linear layer of --init: keep it, or start it from random weights, "
                   "such as for other classes");
  declare_training_head(table, &head);
  table.only_with("head", "sharded", [&] {
    table.add("sample-rate", &sample_rate,
              "Share of the classes that take part in a step, in (0, 1]: those that its targets "
              "name, and others drawn by chance");
    table.add("margin-angle", &margin.angle,
              "Radians added to the angle between a sample and its own class, with --logit-form "
              "cosine; ArcFace: 0.5");
    table.add("margin-cosine", &margin.cosine,
              "Subtracted from its cosine, likewise; CosFace: 0.35");
    table.add("margin-factor", &margin.factor,
              "Multiplies the angle, likewise, at least 1; SphereFace: 1.35");
  });
  auto& out_option = table.add("out", &out, "Run folder to write");
  out_option.effect = OptionEffect::output;
  out_option.required = true;
  table.add("pixel-mean", &pixel_mean, "Subtracted from pixels / 255, one value or one a channel");
  table.add("pixel-deviation", &pixel_deviation,
            "Divides after the subtraction, one value or one a channel");
  nn::declare_precision(table, &precision);

  table.group("Length and batches");
  table.add("seed", &seed, "Seed of all randomness");
  table.add("epochs", &epochs, "Passes over the split; fractions allowed");
  table.add("steps", &steps, "Optimiser steps; above 0: counts instead of --epochs");
  table.add("batch", &batch, "Samples of a global batch, over all ranks");
  table.add("micro-shards", &micro_shards,
            "Parts S of a global batch that are computed alone, a power of two and at least the "
            "largest number of ranks wanted; 0: the largest with 32 samples each");
  table.add(
      "micro-fill", &micro_fill,
      "Least samples of a micro-shard in a partial batch; 0: 16, or batch / S if that is less");
  table
      .add("bucket-elements", &bucket_elements,
           "Gradient elements that are exchanged together while the backward pass goes on")
      .effect = OptionEffect::run;

  table.group("Evaluation, checkpoints, end");
  table.add("evaluate-every", &evaluate_every, "Steps between evaluations; 0: once an epoch");
  table.add("checkpoint-every", &checkpoint_every, "Steps between checkpoints; 0: by time alone")
      .effect = OptionEffect::run;
  table
      .add("checkpoint-minutes", &checkpoint_minutes,
           "Minutes between checkpoints; 0: by steps alone")
      .effect = OptionEffect::run;
  table
      .add_choice(
          "checkpoint-write", &checkpoint_write,
          {{"behind", CheckpointWrite::behind}, {"at-once", CheckpointWrite::at_once}},
          "Behind the next steps, from a copy in memory; or while the training waits, without one")
      .effect = OptionEffect::run;
  table.add("keep", &keep, "Generations of checkpoints to keep, at least 2").effect =
      OptionEffect::run;
  table
      .add("keep-best", &keep_best,
           "Write a generation at each evaluation with the lowest validation loss so far, and keep "
           "the newest of these, too")
      .effect = OptionEffect::run;
  table.add("patience", &patience,
            "Stop after so many evaluations without a lower validation loss; 0: off");
  table.add(
      "stop-window", &stop_window,
      "Stop when the training loss of so many evaluations spans less than --stop-change; 0: off");
  table.add("stop-change", &stop_change, "See --stop-window");
  table.add("stop-accuracy", &stop_accuracy, "Stop at this validation top-1 (0..1); 0: off");
  table.add_choice(
      "select", &select, {{"last", Selection::last}, {"best", Selection::best}},
      "Weights that become the model: of the last step, or of the lowest validation loss");

  table.group("Optimiser");
  optimiser.declare(table);
  table.group("Augmentation");
  augment.declare(table);
  table.group("Placement");
  nn::declare_device(table, &device);
  table
      .add_choice<comm::GpuOrder>(
          "gpu-order", &gpu_order,
          {{"fixed-world", comm::GpuOrder::fixed_world}, {"any-world", comm::GpuOrder::any_world}},
          "On GPUs: equal bits for equal numbers of ranks, or for any number of ranks at the price "
          "of computing micro-shards one by one")
      .effect = OptionEffect::run;
  table.add("loader-threads", &loader_threads, "Threads that decode and augment ahead, a rank")
      .effect = OptionEffect::run;
}

std::uint32_t TrainingOptions::shards() const {
  if (micro_shards > 0) return static_cast<std::uint32_t>(micro_shards);
  return static_cast<std::uint32_t>(
      std::bit_floor(std::clamp<std::uint64_t>(batch / 32, 1, std::uint64_t{1} << 16)));
}

void TrainingOptions::check_ranks(int ranks) const {
  if (std::cmp_greater(ranks, shards()))
    throw core::UsageError(fmt::format(
        "{} ranks but only {} micro-shards a batch: start fewer ranks or raise --micro-shards "
        "(which changes the result)",
        ranks, shards()));
}

std::uint64_t TrainingOptions::fill() const {
  if (micro_fill > 0) return micro_fill;
  return std::clamp<std::uint64_t>(batch / shards(), 1, 16);
}

void TrainingOptions::validate(const nn::LogitForm& logits) const {
  if (batch < 1) throw core::UsageError("--batch 0: a batch needs at least one sample");
  if (batch > (1U << 30))
    throw core::UsageError(fmt::format("--batch {}: must be at most {}", batch, 1U << 30));
  if (micro_shards > 0 && !std::has_single_bit(micro_shards))
    throw core::UsageError(
        fmt::format("--micro-shards {}: must be a power of two, such as {} or {}", micro_shards,
                    std::bit_floor(micro_shards), std::bit_ceil(micro_shards)));
  if (shards() > batch)
    throw core::UsageError(
        fmt::format("--micro-shards {}: more than the {} samples of a batch", shards(), batch));
  if (steps == 0 && !(epochs > 0))
    throw core::UsageError(fmt::format("--epochs {}: must be above 0", epochs));
  if (epochs > 1e9) throw core::UsageError(fmt::format("--epochs {}: must be at most 1e9", epochs));
  if (initial_head == InitialHead::fresh && initial.empty())
    throw core::UsageError("--init-head new is about --init: name the weights to start from");
  nn::ClassSampling{sample_rate, seed}.validate();
  margin.validate();
  if (!margin.none() && !logits.cosine())
    throw core::UsageError(
        "--margin-angle, --margin-cosine and --margin-factor change angles: the model needs "
        "--logit-form cosine");
  if (keep < 2) throw core::UsageError("--keep: at least 2 generations are kept");
  if ((patience > 0 || stop_accuracy > 0 || select == Selection::best) && validation.empty())
    throw core::UsageError(
        "--patience, --stop-accuracy and --select best need --validation: name a split");
  if (keep_best && validation.empty())
    throw core::UsageError("--keep-best needs --validation: name a split");
  if (stop_accuracy < 0 || stop_accuracy > 1)
    throw core::UsageError(fmt::format("--stop-accuracy {}: must be in 0..1", stop_accuracy));
  if (stop_window == 1) throw core::UsageError("--stop-window 1: needs at least 2 evaluations");
  for (double d : pixel_deviation)
    if (!(d > 0)) throw core::UsageError("--pixel-deviation: must be above 0");
}

}  // namespace retort::stages
