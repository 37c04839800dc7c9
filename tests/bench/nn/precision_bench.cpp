// Steps and inference in bf16 against fp32, one thread, a micro-shard of 32 and 64 samples: one
// JSON line per case. Reported, no bound: what a CPU makes of bf16 is its own affair
// (docs/models.md).
#include <time.h>

#include <algorithm>
#include <functional>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>

#include "core/clock.h"
#include "core/heap.h"
#include "nn/backward.h"
#include "nn/model.h"

namespace retort::nn {
namespace {

constexpr double kSeconds = 4;  // of each pair of measurements

struct Case {
  const char* text;
  const char* model;
  ModelShape shape;
  std::vector<std::pair<const char*, const char*>> options;
  std::int64_t samples;
};

class Problem {
 public:
  explicit Problem(const Case& c) {
    const auto factory = make_model_factory(c.model);
    core::OptionTable table;
    factory->declare(table);
    for (const auto& [name, value] : c.options) table.set(name, value);
    model_ = factory->build(c.shape);
    flat_ = make_flat(model_->parameters());
    buffers_ = make_flat(model_->buffers());
    initialise(model_->parameters(), 1, flat_);
    initialise(model_->buffers(), 1, buffers_);
    parameter_views_ = views(model_->parameters(), flat_);
    buffer_views_ = views(model_->buffers(), buffers_);
    pixels_ =
        at::randn({c.samples, c.shape.input.channels, c.shape.input.height, c.shape.input.width});
    samples_.resize(static_cast<std::size_t>(c.samples));
  }
  void step(Precision precision) {
    BatchStatistics statistics;
    Pass pass = this->pass(precision);
    pass.training = true;
    pass.statistics = &statistics;
    forward_backward(
        *model_, {.pixels = pixels_}, pass,
        [](const at::Tensor& logits, at::Tensor& grad) { grad.copy_(logits); },
        [](int, const at::Tensor&) {});
  }
  void infer(Precision precision) {
    const c10::InferenceMode inference;
    Pass pass = this->pass(precision);
    model_->forward({.pixels = pixels_}, pass);
  }

 private:
  Pass pass(Precision precision) const {
    Pass pass;
    pass.parameters = parameter_views_;
    pass.buffers = buffer_views_;
    pass.samples = samples_;
    pass.precision = precision;
    return pass;
  }
  std::unique_ptr<Model> model_;
  at::Tensor flat_, buffers_, pixels_;
  std::vector<at::Tensor> parameter_views_, buffer_views_;
  std::vector<std::uint64_t> samples_;
};

struct Pair {
  double fp32 = 1e9, bf16 = 1e9;
};
/// Of this thread, on its processor: what else the machine does hardly shows.
double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Shortest times of one call, taken in turn.
Pair measure(const std::function<void(Precision)>& work) {
  Pair best;
  for (const Precision precision : {Precision::fp32, Precision::bf16}) work(precision);
  for (const core::Stopwatch whole; whole.seconds() < kSeconds;) {
    const double start = processor_seconds();
    work(Precision::fp32);
    const double middle = processor_seconds();
    work(Precision::bf16);
    best.fp32 = std::min(best.fp32, middle - start);
    best.bf16 = std::min(best.bf16, processor_seconds() - middle);
  }
  return best;
}

void report(const Case& c, const char* what, const Pair& time) {
  fmt::print(
      "{{\"bench\":\"precision\",\"case\":\"{} {}\",\"ratio_time\":{:.3f},\"ms_fp32\":{:.3f},"
      "\"ms_bf16\":{:.3f},\"samples\":{},\"threads\":1}}\n",
      c.text, what, time.bf16 / time.fp32, 1e3 * time.fp32, 1e3 * time.bf16, c.samples);
  std::fflush(stdout);
}

int run() {
  core::keep_heap();
  at::set_num_threads(1);
  const std::vector<Case> cases = {
      {"resnet20 32x32x3", "resnet20", {{32, 32, 3}, 10}, {}, 32},
      {"mlp 784-1024-1024-10", "mlp", {{28, 28, 1}, 10}, {{"hidden", "1024,1024"}}, 64},
  };
  for (const Case& c : cases) {
    Problem problem(c);
    report(c, "step", measure([&](Precision precision) { problem.step(precision); }));
    report(c, "inference", measure([&](Precision precision) { problem.infer(precision); }));
  }
  return 0;
}

}  // namespace
}  // namespace retort::nn

int main() { return retort::nn::run(); }
