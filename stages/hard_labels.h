// The target of the hard loss: gold labels alone, smoothed evenly, or mixed with the rows of a
// similarity-label matrix (methods/similarity-labels.md). One for all stages that train on labels.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <nlohmann/json.hpp>

#include "core/options.h"
#include "io/label_row_reader.h"
#include "io/micro_batch.h"
#include "io/packed_dataset.h"
#include "nn/loss.h"
#include "nn/similarity/label_target.h"

namespace retort::stages {

struct HardLabelOptions {
  double smoothing = 0;  // uniform
  std::filesystem::path matrix;
  nn::LabelMix mix{.mix = kMixByClasses};
  static constexpr double kMixByClasses = -1;

  void declare(core::OptionTable& table);
  /// UsageError for options that say nothing without --label-matrix.
  void check_given(const core::OptionTable& table) const;
  void validate() const;
};

/// Used by several threads at once.
class HardLabels {
 public:
  /// Gold labels, evenly smoothed.
  explicit HardLabels(double smoothing = 0) : smoothing_(smoothing) {}
  /// Reads the matrix, if there is one. DataError if it has other classes than `data`, UsageError
  /// for a mix that its rows do not allow.
  HardLabels(const HardLabelOptions& options, const io::PackedDataset& data,
             const std::filesystem::path& data_path);

  double smoothing() const { return smoothing_; }
  /// Digests, for the recipe.
  const std::string& inputs() const { return inputs_; }
  /// What there is to report of the matrix; empty without one.
  const nlohmann::json& results() const { return results_; }
  /// Why these targets are computed on the CPU alone; empty: they need not be.
  std::string gpu_obstacle() const;

  /// The targets of the labelled rows of a micro-shard; refers to both.
  class Rows {
   public:
    Rows(const HardLabels& labels, const io::MicroBatch& micro);
    Rows(const Rows&) = delete;
    Rows& operator=(const Rows&) = delete;
    const nn::HardTargets<float>& targets() const { return targets_; }

   private:
    std::optional<nn::LabelTargets<float>> mixed_;
    nn::BackgroundTargets<float> view_;
    nn::HardTargets<float> targets_;
  };

 private:
  double smoothing_ = 0;
  std::unique_ptr<const io::LabelRowReader> matrix_;
  nn::LabelMix mix_;
  std::string inputs_;
  nlohmann::json results_ = nlohmann::json::object();
};

}  // namespace retort::stages
