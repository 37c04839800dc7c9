// Options that every training stage shares.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/gpu_order.h"
#include "core/options.h"
#include "io/augment.h"
#include "io/loader.h"
#include "nn/class_head/margin.h"
#include "nn/device.h"
#include "nn/logit_form.h"
#include "nn/optimiser.h"
#include "nn/precision.h"
#include "stages/head_placement.h"
#include "stages/initial_weights.h"

namespace retort::stages {

enum class CheckpointWrite { behind, at_once };
enum class Selection { last, best };  // which weights become the model

struct TrainingOptions {
  std::filesystem::path data;
  std::string split = "train";
  std::string validation;  // split; empty: none
  std::string model;
  std::filesystem::path initial;  // what to start from; empty: seeded random weights
  InitialHead initial_head = InitialHead::keep;
  HeadPlacement head = HeadPlacement::whole;
  double sample_rate = 1;  // of the classes that take part in a step of a sharded head
  nn::Margin margin;       // its scale is the model's
  std::filesystem::path out;
  std::uint64_t seed = 1;
  double epochs = 10;
  std::uint64_t steps = 0;  // > 0: instead of epochs
  std::uint64_t batch = 256;
  std::uint64_t micro_shards = 0;  // 0: the largest power of two with at least 32 samples each
  std::uint64_t micro_fill = 0;    // 0: min(16, batch / micro_shards)
  std::uint64_t bucket_elements = 262144;
  std::uint64_t evaluate_every = 0;    // steps; 0: once an epoch
  std::uint64_t checkpoint_every = 0;  // steps; 0: by time only
  double checkpoint_minutes = 10;
  std::uint64_t keep = 2;
  bool keep_best = false;
  CheckpointWrite checkpoint_write = CheckpointWrite::behind;
  std::uint64_t patience = 0;     // evaluations without a better validation loss; 0: off
  std::uint64_t stop_window = 0;  // evaluations; 0: off
  double stop_change = 0;
  double stop_accuracy = 0;  // 0: off
  Selection select = Selection::last;
  std::uint64_t loader_threads = 1;
  std::vector<double> pixel_mean = {0.5};
  std::vector<double> pixel_deviation = {0.5};
  io::AugmentOptions augment;
  nn::OptimiserOptions optimiser;
  nn::Precision precision = nn::Precision::fp32;
  nn::DeviceChoice device = nn::DeviceChoice::automatic;
  comm::GpuOrder gpu_order = comm::GpuOrder::fixed_world;

  void declare(core::OptionTable& table);
  /// UsageError for values that contradict each other, or the logits of the model.
  void validate(const nn::LogitForm& logits) const;
  /// UsageError if some of so many ranks would have no micro-shard.
  void check_ranks(int ranks) const;
  /// S as resolved from batch and micro_shards.
  std::uint32_t shards() const;
  std::uint64_t fill() const;
};

}  // namespace retort::stages
