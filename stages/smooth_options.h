// What `smooth` is asked for.
#pragma once

#include <cstdint>
#include <filesystem>

#include "core/options.h"
#include "io/label_matrix.h"
#include "nn/similarity/similarity_weight.h"
#include "stages/class_weights.h"
#include "stages/pair_schedule.h"
#include "stages/tile_places.h"

namespace retort::stages {

enum class NonFinite { error, degenerate };
enum class LabelPrecision { automatic, exact, fp32 };

struct SmoothOptions {
  ClassWeightOptions weights;
  std::filesystem::path out;
  std::uint64_t top_m = 100;  // 0: all
  bool top_m_given = false;
  nn::SimilarityOptions similarity{.temperature = 0};
  double norm_floor = 1e-12;
  NonFinite non_finite = NonFinite::error;
  LabelPrecision precision = LabelPrecision::automatic;
  PairSchedule schedule = PairSchedule::ring;
  std::uint64_t tile = 0;  // 0: by the class count
  double checkpoint_minutes = 10;
  std::uint64_t checkpoint_every = 0;

  void declare(core::OptionTable& table);
  /// Options against each other. UsageError.
  void validate() const;
  /// What depends on the class count, and what does not count. UsageError for more entries than
  /// classes.
  void settle(std::uint64_t classes);
  CosinePrecision cosines(std::uint64_t classes) const;
  /// Of the matrix that comes of it, once settled.
  io::LabelMatrixFacts facts(const ClassWeights& columns) const;
};

}  // namespace retort::stages
