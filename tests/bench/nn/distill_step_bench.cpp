// distill_step: one training step from stored logits (forward, hard and soft residual loss,
// backward, optimiser) against the same step with plain cross-entropy (ratio_plain), and against
// the step with the teacher evaluated online (speedup_online). One thread, whose own CPU time is
// measured: rounds of the three in turn, medians of the rounds' ratios.
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include "core/heap.h"
#include "core/random.h"
#include "nn/backward.h"
#include "nn/kernels/top_k.h"
#include "nn/loss.h"
#include "nn/model.h"
#include "nn/optimiser.h"

namespace retort::nn {
namespace {

constexpr std::uint64_t kClasses = 1000;
constexpr std::uint32_t kTopK = 20;
constexpr std::int64_t kBatch = 256, kShard = 32;
constexpr double kTemperature = 2;
constexpr int kRounds = 9;

struct ModelChoice {
  std::string name;
  std::vector<std::pair<std::string, std::string>> options;
};
struct Case {
  std::string name;
  io::ImageShape image;
  ModelChoice student, teacher;
};

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// A model with its parameters, buffers and optimiser.
struct Network {
  Network(const ModelChoice& choice, io::ImageShape image) {
    factory = make_model_factory(choice.name);
    core::OptionTable table;
    factory->declare(table);
    for (const auto& [key, value] : choice.options) table.set(key, value);
    model = factory->build({image, kClasses});
    flat = make_flat(model->parameters());
    initialise(model->parameters(), 1, flat);
    buffers_flat = make_flat(model->buffers());
    initialise(model->buffers(), 1, buffers_flat);
    gradient = make_flat(model->parameters());
    parameters = views(model->parameters(), flat);
    buffers = views(model->buffers(), buffers_flat);
    gradients = views(model->parameters(), gradient);
    optimiser = make_optimiser({}, model->parameters());
  }
  std::unique_ptr<ModelFactory> factory;
  std::unique_ptr<Model> model;
  at::Tensor flat, buffers_flat, gradient;
  std::vector<at::Tensor> parameters, buffers, gradients;
  std::unique_ptr<Optimiser> optimiser;
};

/// What is stored of one micro-shard.
struct Stored {
  std::vector<std::uint32_t> ids, label_begin, labels;
  std::vector<float> logits, tail;
};

enum class Step { plain, stored, online };

class Bench {
 public:
  explicit Bench(const Case& c) : student_(c.student, c.image), teacher_(c.teacher, c.image) {
    core::RandomStream stream(1, core::RandomUse::test, {});
    for (std::int64_t shard = 0; shard < kBatch / kShard; ++shard) {
      at::Tensor x =
          at::empty({kShard, c.image.channels, c.image.height, c.image.width}, at::kFloat);
      for (std::int64_t i = 0; i < x.numel(); ++i) x.mutable_data_ptr<float>()[i] = stream.normal();
      inputs_.push_back(x);
      Stored stored = capture(x);
      for (std::int64_t i = 0; i <= kShard; ++i)
        stored.label_begin.push_back(static_cast<std::uint32_t>(i));
      for (std::int64_t i = 0; i < kShard; ++i)
        stored.labels.push_back(static_cast<std::uint32_t>(stream.below(kClasses)));
      stored_.push_back(std::move(stored));
    }
    for (std::uint64_t i = 0; i < kShard; ++i) samples_.push_back(i);
  }

  double seconds(Step kind) {
    const double begin = cpu_seconds();
    step(kind);
    return cpu_seconds() - begin;
  }
  const Model& student() const { return *student_.model; }
  const Model& teacher() const { return *teacher_.model; }
  /// Differs from 0 and NaN when the steps did their work.
  double last_norm() const { return norm_; }

 private:
  Stored capture(const at::Tensor& input) {
    const at::NoGradGuard no_graph;
    Pass pass;
    pass.parameters = teacher_.parameters;
    pass.buffers = teacher_.buffers;
    const at::Tensor logits = teacher_.model->forward({.pixels = input}, pass).contiguous();
    const auto rows = static_cast<std::uint64_t>(logits.size(0));
    Stored stored;
    stored.ids.resize(rows * kTopK);
    stored.logits.resize(rows * kTopK);
    stored.tail.resize(rows);
    const std::array<double, 1> temperatures = {kTemperature};
    top_k_with_tail<float>(rows, kClasses, {logits.const_data_ptr<float>(), rows * kClasses}, kTopK,
                           temperatures, stored.ids, stored.logits, stored.tail);
    return stored;
  }

  void step(Step kind) {
    BatchStatistics statistics;
    student_.gradient.zero_();
    SoftOptions options;
    options.temperature = kTemperature;
    const float scale = 1.0f / kBatch;
    for (std::size_t shard = 0; shard < inputs_.size(); ++shard) {
      const Stored& labels = stored_[shard];
      Stored online;
      if (kind == Step::online) online = capture(inputs_[shard]);
      const Stored& from = kind == Step::online ? online : labels;
      Pass pass;
      pass.training = true;
      pass.parameters = student_.parameters;
      pass.statistics = &statistics;
      pass.samples = samples_;
      forward_backward(
          *student_.model, {.pixels = inputs_[shard]}, pass,
          [&](const at::Tensor& logits, at::Tensor& grad) {
            const std::uint64_t n = kShard * kClasses;
            const HardTargets<float> hard{labels.label_begin, labels.labels};
            const SparseTargets<float> soft{kTopK, from.ids, from.logits, from.tail};
            loss_and_gradient<float>(kShard, kClasses, {logits.const_data_ptr<float>(), n}, &hard,
                                     kind == Step::plain ? scale : 0.5f * scale,
                                     kind == Step::plain ? nullptr : &soft, options, 0.5f * scale,
                                     {grad.mutable_data_ptr<float>(), n});
          },
          [&](int index, const at::Tensor& gradient) {
            float* sum =
                student_.gradients[static_cast<std::size_t>(index)].mutable_data_ptr<float>();
            const float* g = gradient.const_data_ptr<float>();
            for (std::int64_t i = 0; i < gradient.numel(); ++i) sum[i] += g[i];
          });
    }
    at::Tensor none;
    norm_ = student_.optimiser->step(1e-4, 0, student_.flat, student_.gradient, none);
    student_.model->fold_statistics(statistics.sums, student_.buffers_flat);
  }

  Network student_, teacher_;
  std::vector<at::Tensor> inputs_;
  std::vector<Stored> stored_;
  std::vector<std::uint64_t> samples_;
  double norm_ = 0;
};

int run(const Case& c) {
  Bench bench(c);
  std::vector<double> plain, stored, online, ratio_plain, speedup;
  for (int round = -1; round < kRounds; ++round) {
    // Stored and plain take turns at going first; several of each, as they are short.
    double p = 0, s = 0;
    for (int i = 0; i < 4; ++i) {
      if ((round + i) % 2 == 0) p += bench.seconds(Step::plain);
      s += bench.seconds(Step::stored);
      if ((round + i) % 2 != 0) p += bench.seconds(Step::plain);
    }
    const double o = 4 * bench.seconds(Step::online);
    if (round < 0) continue;
    plain.push_back(p / 4);
    stored.push_back(s / 4);
    online.push_back(o / 4);
    ratio_plain.push_back(s / p);
    speedup.push_back(o / s);
  }
  if (!(bench.last_norm() > 0)) {
    std::fprintf(stderr, "distill_step: the step has no gradient\n");
    return 70;
  }
  fmt::print(
      "{{\"bench\":\"distill_step\",\"case\":\"{}\",\"ratio_plain\":{:.4f},\"speedup_online\":{:."
      "2f},"
      "\"stored_ms\":{:.2f},\"plain_ms\":{:.2f},\"online_ms\":{:.2f},\"student_multiply_adds\":{},"
      "\"teacher_multiply_adds\":{},\"teacher_over_student\":{:.1f},\"classes\":{},\"top_k\":{},"
      "\"batch\":{},\"micro_shard\":{},\"dtype\":\"fp32\",\"threads\":1,\"rounds\":{},"
      "\"time\":\"cpu time of the thread\",\"allocator\":\"glibc, heap kept\"}}\n",
      c.name, median(ratio_plain), median(speedup), 1e3 * median(stored), 1e3 * median(plain),
      1e3 * median(online), bench.student().multiply_adds(), bench.teacher().multiply_adds(),
      static_cast<double>(bench.teacher().multiply_adds()) /
          static_cast<double>(bench.student().multiply_adds()),
      kClasses, kTopK, kBatch, kShard, kRounds);
  std::fflush(stdout);
  return 0;
}

}  // namespace
}  // namespace retort::nn

int main() {
  retort::core::keep_heap();
  at::set_num_threads(1);
  int code = 0;
  for (const retort::nn::Case& c :
       {retort::nn::Case{"glyphs convnet 16,32,64 from convnet 64,128,256,512",
                         {24, 24, 1},
                         {"convnet", {{"channels", "16,32,64"}, {"strides", "2,2,2"}}},
                         {"convnet", {{"channels", "64,128,256,512"}}}},
        retort::nn::Case{"pair of examples/glyphs.ini: convnet 16,32,64 from convnet 32,64,128,256",
                         {24, 24, 1},
                         {"convnet", {{"channels", "16,32,64"}, {"strides", "2,2,2"}}},
                         {"convnet", {{"channels", "32,64,128,256"}, {"strides", "2,1,2,2"}}}},
        retort::nn::Case{"resnet20 width 16 from resnet56 width 48, 16x16",
                         {16, 16, 3},
                         {"resnet20", {}},
                         {"resnet56", {{"width", "48"}}}}})
    code = std::max(code, retort::nn::run(c));
  return code;
}
