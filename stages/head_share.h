// The last linear layer in training with --head sharded: weights, optimiser state and averages of
// the classes that this rank owns (stages/sharded_head.h), and no others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/range.h"
#include "io/tensor_file.h"
#include "nn/class_head/tile_pass.h"
#include "nn/model.h"
#include "nn/optimiser.h"

namespace retort::stages {

class HeadShare {
 public:
  /// Weights of the head of `model` for these classes, random by `seed`: the values that the whole
  /// head would have. `keep_best`: room for the best weights.
  HeadShare(const nn::Model& model, core::Range classes, const nn::OptimiserOptions& options,
            std::uint64_t seed, bool keep_best);

  core::Range classes() const { return classes_; }
  /// What is trained; what is evaluated, the average if there is one.
  nn::HeadWeights weights() const { return view(parameters_); }
  nn::HeadWeights evaluated() const { return view(evaluated_flat()); }
  void keep_best();

  /// An optimiser step of the classes that `gradients` names, multiplied by `factor`. Several
  /// threads at once, for different classes.
  void step(const nn::ClassGradients& gradients, float factor, double rate, std::uint64_t step);

  /// What steps change, flat and shared: for those who take them elsewhere (device_head_share.h).
  struct Trained {
    at::Tensor parameters, average;     // average: undefined if there is none
    std::vector<at::Tensor> optimiser;  // in the order of Optimiser::state()
  };
  Trained trained() const;
  const nn::ParameterLayout& layout() const { return layout_; }

  /// Whether a tensor of a checkpoint, or of a model, is of the head.
  bool owns(const std::string& tensor) const;
  /// The rows of those that this rank needs.
  io::RowSelection selection() const;
  /// This rank's rows of the whole tensors, under the names that a whole head has in checkpoints.
  std::vector<io::TensorRange> ranges() const;
  /// The tensors that owns() in a checkpoint, of this rank's rows. DataError as nn::from_tensors().
  void restore(const io::TensorMap& tensors);
  /// Its rows of a model's tensors, of those that are there.
  void start_from(const io::TensorSource& tensors);

 private:
  struct Named {
    std::string prefix;
    at::Tensor flat;
  };
  std::vector<Named> vectors() const;
  nn::HeadWeights view(const at::Tensor& flat) const;
  const at::Tensor& evaluated_flat() const { return average_.defined() ? average_ : parameters_; }

  std::uint64_t all_classes_, features_;
  core::Range classes_;
  nn::ParameterLayout layout_;  // weight, then bias: of these classes
  at::Tensor parameters_, average_, best_;
  std::unique_ptr<nn::Optimiser> optimiser_;
};

}  // namespace retort::stages
