#include "nn/optimiser.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <utility>

#include <ATen/ops/zeros.h>

#include "core/error.h"

namespace retort::nn {
namespace {

constexpr std::int64_t kNormBlock = 4096;

/// A stretch of the flat vector with one rate of decay. Padding belongs to the stretch before it:
/// it holds zeros, and every update keeps them.
struct Stretch {
  std::uint64_t begin = 0, end = 0;
  WeightDecay decay = WeightDecay::yes;
};

std::vector<Stretch> stretches_of(const ParameterLayout& layout) {
  std::vector<Stretch> stretches;
  const auto& specs = layout.specs();
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const std::uint64_t end = i + 1 < specs.size() ? specs[i + 1].offset : layout.flat_size();
    if (!stretches.empty() && stretches.back().decay == specs[i].decay)
      stretches.back().end = end;
    else
      stretches.push_back({specs[i].offset, end, specs[i].decay});
  }
  return stretches;
}

class FlatOptimiser : public Optimiser {
 public:
  FlatOptimiser(OptimiserOptions options, const ParameterLayout& layout)
      : options_(std::move(options)),
        layout_size_(layout.flat_size()),
        stretches_(stretches_of(layout)) {}

  double step(double rate, std::uint64_t step, at::Tensor& parameters, at::Tensor& gradient,
              at::Tensor& average, double other_squares) final {
    for (const at::Tensor& flat : {parameters, gradient})
      if (static_cast<std::uint64_t>(flat.numel()) != layout_size_)
        throw core::InternalError("the optimiser got a flat vector of another model");
    double norm = gradient_norm(gradient);
    if (other_squares != 0) norm = std::sqrt(norm * norm + other_squares);
    float* g = gradient.data_ptr<float>();
    if (const float factor = clip_factor(options_, norm); factor != 1)
      for (std::uint64_t i = 0; i < layout_size_; ++i) g[i] *= factor;
    update_elements(0, layout_size_, rate, step, parameters, g, average);
    return norm;
  }

  void step_part(double rate, std::uint64_t step, at::Tensor& parameters, std::uint64_t begin,
                 std::span<const float> gradient, at::Tensor& average) final {
    if (static_cast<std::uint64_t>(parameters.numel()) != layout_size_ ||
        begin + gradient.size() > layout_size_)
      throw core::InternalError("the optimiser got a part of another model");
    update_elements(begin, begin + gradient.size(), rate, step, parameters, gradient.data(),
                    average);
  }

 protected:
  /// The elements from `begin` on; p and g point at the first of them.
  virtual void update(std::uint64_t begin, std::uint64_t count, double decay, double rate,
                      std::uint64_t step, float* p, const float* g) = 0;
  at::Tensor make_state() const {
    return at::zeros({static_cast<std::int64_t>(layout_size_)}, at::kFloat);
  }
  const OptimiserOptions options_;

 private:
  /// `g` points at the gradient of element `begin`.
  void update_elements(std::uint64_t begin, std::uint64_t end, double rate, std::uint64_t step,
                       at::Tensor& parameters, const float* g, at::Tensor& average) {
    float* p = parameters.data_ptr<float>();
    for (const Stretch& stretch : stretches_) {
      const std::uint64_t from = std::max(begin, stretch.begin), to = std::min(end, stretch.end);
      if (from < to)
        update(from, to - from, stretch.decay == WeightDecay::yes ? options_.weight_decay : 0.0,
               rate, step, p + from, g + (from - begin));
    }
    if (!average.defined()) return;
    const AverageUpdate fold = average_update(options_, step);
    float* averages = average.data_ptr<float>();
    for (std::uint64_t i = begin; i < end; ++i) fold.apply(averages[i], p[i]);
  }

  std::uint64_t layout_size_;
  std::vector<Stretch> stretches_;
};

// torch.optim.SGD: buffer = momentum * buffer + (gradient + decay * p).
class Sgd final : public FlatOptimiser {
 public:
  Sgd(OptimiserOptions options, const ParameterLayout& layout)
      : FlatOptimiser(std::move(options), layout) {
    if (options_.momentum != 0) momentum_ = make_state();
  }
  std::vector<std::pair<std::string, at::Tensor>> state() override {
    if (!momentum_.defined()) return {};
    return {{"momentum", momentum_}};
  }

 protected:
  void update(std::uint64_t begin, std::uint64_t count, double decay, double rate, std::uint64_t,
              float* p, const float* g) override {
    const SgdUpdate update = sgd_update(options_, decay, rate);
    if (!momentum_.defined()) {
#pragma GCC ivdep
      for (std::uint64_t i = 0; i < count; ++i) update.plain(p[i], g[i]);
      return;
    }
    float* buffer = momentum_.data_ptr<float>() + begin;
    if (options_.nesterov) {
#pragma GCC ivdep
      for (std::uint64_t i = 0; i < count; ++i) update.nesterov(p[i], buffer[i], g[i]);
    } else {
#pragma GCC ivdep
      for (std::uint64_t i = 0; i < count; ++i) update.heavy(p[i], buffer[i], g[i]);
    }
  }

 private:
  at::Tensor momentum_;
};

// torch.optim.AdamW: decay is taken off the weights, not added to the gradient.
class AdamW final : public FlatOptimiser {
 public:
  AdamW(OptimiserOptions options, const ParameterLayout& layout)
      : FlatOptimiser(std::move(options), layout), first_(make_state()), second_(make_state()) {}
  std::vector<std::pair<std::string, at::Tensor>> state() override {
    return {{"first", first_}, {"second", second_}};
  }

 protected:
  void update(std::uint64_t begin, std::uint64_t count, double decay, double rate,
              std::uint64_t step, float* p, const float* g) override {
    const AdamWUpdate update = adamw_update(options_, decay, rate, step);
    float* first = first_.data_ptr<float>() + begin;
    float* second = second_.data_ptr<float>() + begin;
#pragma GCC ivdep
    for (std::uint64_t i = 0; i < count; ++i) update.apply(p[i], first[i], second[i], g[i]);
  }

 private:
  at::Tensor first_, second_;
};

void check(const OptimiserOptions& o) {
  const auto require = [](bool good, const char* option, double value, const char* range) {
    if (good) return;
    char text[64];
    std::snprintf(text, sizeof text, "--%s %g is not ", option, value);
    throw core::UsageError(std::string(text) + range);
  };
  require(o.learning_rate > 0 && std::isfinite(o.learning_rate), "learning-rate", o.learning_rate,
          "above 0");
  require(o.momentum >= 0 && o.momentum < 1, "momentum", o.momentum, "in [0, 1)");
  require(o.beta1 >= 0 && o.beta1 < 1, "beta1", o.beta1, "in [0, 1)");
  require(o.beta2 >= 0 && o.beta2 < 1, "beta2", o.beta2, "in [0, 1)");
  require(o.epsilon > 0 && std::isfinite(o.epsilon), "epsilon", o.epsilon, "above 0");
  require(o.weight_decay >= 0 && std::isfinite(o.weight_decay), "weight-decay", o.weight_decay,
          "0 or above");
  require(o.clip_norm >= 0 && std::isfinite(o.clip_norm), "clip-norm", o.clip_norm, "0 or above");
  require(o.average_decay >= 0 && o.average_decay < 1, "average-decay", o.average_decay,
          "in [0, 1)");
  require(o.warmup >= 0 && std::isfinite(o.warmup), "warmup", o.warmup, "0 or above");
  require(o.gamma > 0 && std::isfinite(o.gamma), "gamma", o.gamma, "above 0");
  if (o.schedule == ScheduleKind::step && o.milestones.empty())
    throw core::UsageError("--schedule step: needs --milestones, at which the rate falls");
  for (const double milestone : o.milestones)
    require(milestone > 0 && milestone < 1, "milestones", milestone,
            "a fraction of all steps in (0, 1)");
  if (o.nesterov && o.kind == OptimiserKind::sgd && o.momentum == 0)
    throw core::UsageError("--nesterov needs a --momentum above 0");
}

}  // namespace

void OptimiserOptions::declare(core::OptionTable& table) {
  table.group("Optimiser");
  table.add_choice<OptimiserKind>("optimiser", &kind,
                                  {{"sgd", OptimiserKind::sgd}, {"adamw", OptimiserKind::adamw}},
                                  "Optimiser");
  table.add("learning-rate", &learning_rate, "Highest learning rate");
  table.only_with("optimiser", "sgd", [&] {
    table.add("momentum", &momentum, "Momentum of sgd");
    table.add("nesterov", &nesterov, "Nesterov's momentum in sgd");
  });
  table.only_with("optimiser", "adamw", [&] {
    table.add("beta1", &beta1, "Decay of the first moment in adamw");
    table.add("beta2", &beta2, "Decay of the second moment in adamw");
    table.add("epsilon", &epsilon, "Added to the deviation in adamw");
  });
  table.add("weight-decay", &weight_decay,
            "Weight decay; biases, norms and positions are excluded");
  table.add("clip-norm", &clip_norm, "Largest global L2 norm of the gradient; 0: no clipping");
  table.add("average-decay", &average_decay,
            "Decay of the exponential moving average of weights; 0: no average");
  table.add_choice<ScheduleKind>("schedule", &schedule,
                                 {{"constant", ScheduleKind::constant},
                                  {"step", ScheduleKind::step},
                                  {"cosine", ScheduleKind::cosine}},
                                 "Learning rate after the warm-up");
  table.add("warmup", &warmup,
            "Steps of linear warm-up (1 or more), or their fraction of all steps (below 1)");
  table.only_with("schedule", "step", [&] {
    table.add("milestones", &milestones,
              "Fractions of all steps at which schedule step lowers the rate");
    table.add("gamma", &gamma, "Factor of schedule step at each milestone");
  });
}

double learning_rate(const OptimiserOptions& options, std::uint64_t step, std::uint64_t steps) {
  const double total = static_cast<double>(steps), at = static_cast<double>(step);
  const double warm =
      std::min(total, options.warmup < 1 ? std::floor(options.warmup * total) : options.warmup);
  if (at < warm) return options.learning_rate * (at + 1) / warm;
  switch (options.schedule) {
    case ScheduleKind::constant:
      return options.learning_rate;
    case ScheduleKind::step: {
      double rate = options.learning_rate;
      for (const double milestone : options.milestones)
        if (at >= std::floor(milestone * total)) rate *= options.gamma;
      return rate;
    }
    case ScheduleKind::cosine: {
      const double span = total - warm;
      const double progress = span > 0 ? std::min(1.0, (at - warm) / span) : 1.0;
      return 0.5 * options.learning_rate * (1 + std::cos(std::numbers::pi * progress));
    }
  }
  throw core::InternalError("unknown schedule");
}

SgdUpdate sgd_update(const OptimiserOptions& options, double decay, double rate) {
  return {static_cast<float>(rate), static_cast<float>(decay),
          static_cast<float>(options.momentum)};
}

AdamWUpdate adamw_update(const OptimiserOptions& options, double decay, double rate,
                         std::uint64_t step) {
  const double t = static_cast<double>(step) + 1;
  const double correction1 = 1 - std::pow(options.beta1, t);
  const double correction2 = 1 - std::pow(options.beta2, t);
  return {.keep = static_cast<float>(1 - rate * decay),
          .take1 = static_cast<float>(1 - options.beta1),
          .b2 = static_cast<float>(options.beta2),
          .take2 = static_cast<float>(1 - options.beta2),
          .size = static_cast<float>(rate / correction1),
          .root2 = static_cast<float>(std::sqrt(correction2)),
          .epsilon = static_cast<float>(options.epsilon)};
}

float clip_factor(const OptimiserOptions& options, double norm) {
  return options.clip_norm > 0 && norm > options.clip_norm
             ? static_cast<float>(options.clip_norm / norm)
             : 1.0F;
}

AverageUpdate average_update(const OptimiserOptions& options, std::uint64_t step) {
  const double t = static_cast<double>(step);
  const double decay = std::min(options.average_decay, (1 + t) / (10 + t));
  return {static_cast<float>(decay), static_cast<float>(1 - decay)};
}

double gradient_norm(const at::Tensor& flat) {
  constexpr int kLanes = 8;
  const float* g = flat.const_data_ptr<float>();
  const std::int64_t size = flat.numel();
  double sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += kNormBlock) {
    const std::int64_t end = std::min(size, begin + kNormBlock);
    double lanes[kLanes] = {};
    std::int64_t i = begin;
    for (; i + kLanes <= end; i += kLanes)
      for (int l = 0; l < kLanes; ++l)
        lanes[l] += static_cast<double>(g[i + l]) * static_cast<double>(g[i + l]);
    for (int l = 0; i + l < end; ++l)
      lanes[l] += static_cast<double>(g[i + l]) * static_cast<double>(g[i + l]);
    double block = 0;
    for (const double lane : lanes) block += lane;
    sum += block;
  }
  return std::sqrt(sum);
}

std::unique_ptr<Optimiser> make_optimiser(const OptimiserOptions& options,
                                          const ParameterLayout& layout) {
  check(options);
  if (options.kind == OptimiserKind::adamw) return std::make_unique<AdamW>(options, layout);
  return std::make_unique<Sgd>(options, layout);
}

}  // namespace retort::nn
