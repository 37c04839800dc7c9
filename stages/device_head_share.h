// A rank's share of a head (stages/head_share.h) on its accelerator while steps are computed there.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "nn/accelerator.h"
#include "nn/class_head/device_head.h"
#include "nn/optimiser.h"
#include "stages/head_share.h"

namespace retort::stages {

class DeviceHeadShare {
 public:
  /// Copies what `host` holds; all three outlive this.
  DeviceHeadShare(const nn::Accelerator& accelerator, HeadShare& host,
                  const nn::OptimiserOptions& options);

  nn::DeviceHeadWeights weights() const;
  /// Queues adding up the squares of these gradients.
  void add_squares(const nn::DeviceClassGradients& gradients);
  /// Queues an optimiser step of the classes that `gradients` names, and add_squares().
  void step(const nn::DeviceClassGradients& gradients, double rate, std::uint64_t step);
  /// The same with gradients times `factor`, whose squares were added before.
  void step_scaled(const nn::DeviceClassGradients& gradients, float factor, double rate,
                   std::uint64_t step);
  /// The sum of squares since the last call; waits for it.
  double take_squares();
  /// Copies everything back.
  void to_host();

 private:
  struct Pair {
    at::Tensor host, device;  // flat
  };
  /// Calls use(spec, rows) for weights and, if there are any, biases.
  template <class Use>
  void for_each_spec(const nn::DeviceClassGradients& gradients, const Use& use);
  /// The same with room for squares, which are then added up.
  template <class Use>
  void with_squares(const nn::DeviceClassGradients& gradients, const Use& use);
  void step_rows(std::size_t spec, nn::ClassStep rows, double rate, std::uint64_t step);
  float* at(const at::Tensor& flat, std::size_t spec) const;

  const nn::Accelerator& accelerator_;
  const nn::OptimiserOptions& options_;
  const nn::ParameterLayout& layout_;
  std::vector<Pair> pairs_;
  at::Tensor parameters_, average_;
  std::vector<at::Tensor> state_;  // of the optimiser, in its order
  at::Tensor squares_, sum_;       // fp64: by class; of all so far
};

}  // namespace retort::stages
