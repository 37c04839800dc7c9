// Optimisers, schedules, clipping and weight averaging on flat fp32 vectors (nn/parameters.h). All
// element-wise in plain IEEE operations (no contraction), norms over fixed blocks in fp64, so the
// bits do not depend on threads or ranks.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "core/options.h"
#include "io/tensor_file.h"
#include "nn/kernels/flat_update.h"
#include "nn/parameters.h"

namespace retort::nn {

enum class OptimiserKind { sgd, adamw };
enum class ScheduleKind { constant, step, cosine };

struct OptimiserOptions {
  OptimiserKind kind = OptimiserKind::sgd;
  double learning_rate = 0.1;
  double momentum = 0.9;
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double weight_decay = 5e-4;
  double clip_norm = 0;      // 0: off; global L2 norm
  double average_decay = 0;  // EMA of weights; 0: off
  ScheduleKind schedule = ScheduleKind::cosine;
  double warmup = 0;               // steps (>= 1) or a fraction of all steps (< 1)
  std::vector<double> milestones;  // step schedule: fractions of all steps
  double gamma = 0.1;
  void declare(core::OptionTable& table);
};

/// Learning rate of step `step` of `steps`: pure.
double learning_rate(const OptimiserOptions& options, std::uint64_t step, std::uint64_t steps);

/// One element's arithmetic in step `step` at learning rate `rate`; `decay`: of its tensor.
SgdUpdate sgd_update(const OptimiserOptions& options, double decay, double rate);
AdamWUpdate adamw_update(const OptimiserOptions& options, double decay, double rate,
                         std::uint64_t step);
/// The decay rises to its final value with the number of steps, so that a short run does not
/// average its initial weights in.
AverageUpdate average_update(const OptimiserOptions& options, std::uint64_t step);

/// What a gradient of this global norm is multiplied by; 1: nothing is clipped.
float clip_factor(const OptimiserOptions& options, double norm);

/// Global L2 norm over fixed blocks of the flat vector.
double gradient_norm(const at::Tensor& flat);

class Optimiser {
 public:
  virtual ~Optimiser() = default;
  /// Updates `parameters` in place from `gradient` (both flat). Clipping, decay with exclusions and
  /// EMA included. Returns the gradient's norm before clipping, to which gradients elsewhere add
  /// `other_squares`. `average` may be undefined.
  virtual double step(double rate, std::uint64_t step, at::Tensor& parameters, at::Tensor& gradient,
                      at::Tensor& average, double other_squares = 0) = 0;
  /// The same for the elements from `begin` on alone, without clipping: where gradients come in
  /// parts. Several threads at once, for different elements.
  virtual void step_part(double rate, std::uint64_t step, at::Tensor& parameters,
                         std::uint64_t begin, std::span<const float> gradient,
                         at::Tensor& average) = 0;
  /// State vectors by name ("momentum"; "first", "second"): flat, for checkpoints.
  virtual std::vector<std::pair<std::string, at::Tensor>> state() = 0;
};
std::unique_ptr<Optimiser> make_optimiser(const OptimiserOptions& options,
                                          const ParameterLayout& layout);

}  // namespace retort::nn
