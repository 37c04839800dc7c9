// head_gpu: a step of a head over many classes on a GPU - drawing of classes, loss, gradients, the
// optimiser - against partial FC in plain torch operations, which updates the drawn rows alone.
//   head_gpu_bench                                            all cases, a JSON line each
//   head_gpu_bench CLASSES FEATURES BATCH RATE fp32|bf16 own|both ROUNDS
// Extra memory is the peak of torch's allocator in a step beyond weights, momentum and inputs.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/class_head/device_head.h"
#include "nn/class_head/row_solution.h"
#include "nn/class_head/unit_rows.h"

namespace retort::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double kScale = 64, kCosine = 0.4, kMomentum = 0.9, kDecay = 5e-4, kRate = 0.1;

struct Problem {
  std::uint64_t classes = 0, features = 0, batch = 0;
  double rate = 1;
  nn::Precision precision = nn::Precision::fp32;
};

at::TensorOptions there(at::ScalarType type = at::kFloat) {
  return at::TensorOptions(type).device(at::kCUDA, 0);
}

struct Batch {
  at::Tensor embeddings;  // on the host
  std::vector<std::uint32_t> labels;
  Batch(const Problem& problem, std::uint64_t step) {
    core::RandomStream random(2, core::RandomUse::test, {step});
    embeddings = at::empty(
        {static_cast<std::int64_t>(problem.batch), static_cast<std::int64_t>(problem.features)});
    for (std::int64_t i = 0; i < embeddings.numel(); ++i)
      embeddings.data_ptr<float>()[i] = random.normal();
    for (std::uint64_t row = 0; row < problem.batch; ++row)
      labels.push_back(static_cast<std::uint32_t>(random.below(problem.classes)));
  }
};

struct Outcome {
  double loss = 0;
  at::Tensor gradient;  // on the embeddings, on the host
};

class OwnHead {
 public:
  OwnHead(const Problem& problem, at::Tensor weight, const nn::Accelerator& accelerator)
      : problem_(problem),
        accelerator_(accelerator),
        tiles_(nn::ClassTiles(problem.classes).count()),
        head_({problem.classes,
               problem.features,
               {.normalised = true, .scale = kScale, .precision = problem.precision},
               {problem.rate, 5}},
              {0, tiles_}, accelerator),
        weight_(std::move(weight)),
        momentum_(at::zeros_like(weight_)) {}

  const at::Tensor& weight() const { return weight_; }
  at::Tensor classes() const {
    const std::vector<std::uint32_t> ids = head_.classes();
    return at::tensor(std::vector<std::int64_t>(ids.begin(), ids.end()), at::kLong).cuda();
  }

  Outcome step(std::uint64_t step, const Batch& batch) {
    const auto rows = static_cast<std::int64_t>(problem_.batch);
    const auto features = static_cast<std::int64_t>(problem_.features);
    std::vector<std::uint32_t> begin(problem_.batch + 1);
    for (std::uint64_t row = 0; row <= problem_.batch; ++row)
      begin[row] = static_cast<std::uint32_t>(row);
    const nn::HardTargets<float> hard{begin, batch.labels};
    nn::ListedLoss<float> loss({.rows = problem_.batch,
                                .hard = &hard,
                                .hard_weight = 1 / static_cast<double>(problem_.batch)},
                               problem_.classes, {.scale = kScale, .cosine = kCosine});
    nn::UnitRows unit(problem_.features, {batch.embeddings.const_data_ptr<float>(),
                                          problem_.batch * problem_.features});
    const at::Tensor embeddings =
        at::from_blob(const_cast<float*>(unit.rows().data()), {rows, features}).cuda();
    head_.begin(step, embeddings, loss.listed());
    const nn::DeviceHeadWeights weights{weight_, {}};
    head_.sums(weights, {});
    const auto highest = head_.highest();
    const comm::TreeNode root = comm::cover({0, tiles_}).front();
    const auto sums = head_.node_sums(root, highest);
    const nn::RowGradients solved =
        nn::solve_rows({loss.listed(), highest, sums, head_.logits(), {}, head_.taking_part()},
                       {0, problem_.batch}, loss, 0);
    nn::SgdClassStep update;
    update.update = {static_cast<float>(kRate), static_cast<float>(kDecay),
                     static_cast<float>(kMomentum)};
    update.momentum = momentum_.data_ptr<float>();
    update.rows.features = problem_.features;
    update.rows.parameters = weight_.data_ptr<float>();
    const std::vector<comm::TreeNode> nodes{root};
    const auto gradients = head_.gradients(
        weights, nodes, {solved.dense, solved.listed, 1}, [&](const nn::DeviceClassGradients& of) {
          update.rows.classes = of.classes;
          update.rows.gradient = of.weight.const_data_ptr<float>();
          update.rows.inverse_norm = of.inverse_norm.const_data_ptr<double>();
          accelerator_.kernels().head.sgd(accelerator_.stream(), update);
        });
    Outcome outcome{solved.sums.hard / static_cast<double>(problem_.batch),
                    gradients.front().cpu()};
    unit.to_given({outcome.gradient.data_ptr<float>(), problem_.batch * problem_.features});
    return outcome;
  }

 private:
  Problem problem_;
  const nn::Accelerator& accelerator_;
  std::uint64_t tiles_;
  nn::DeviceHead head_;
  at::Tensor weight_, momentum_;
};

/// Partial FC (An et al., ICCV-W 2021): full logits of the drawn classes, dense one-hot targets,
/// gradients by autograd, momentum and decay of the drawn rows.
class PartialFc {
 public:
  PartialFc(const Problem& problem, at::Tensor weight)
      : problem_(problem), weight_(std::move(weight)), momentum_(at::zeros_like(weight_)) {}

  const at::Tensor& weight() const { return weight_; }

  /// `sample`: rows of the weight, ascending; what drawing them costs is computed, too.
  Outcome step(const Batch& batch, const at::Tensor& sample) {
    const at::Tensor embeddings = batch.embeddings.cuda().requires_grad_(true);
    const at::Tensor labels =
        at::tensor(std::vector<std::int64_t>(batch.labels.begin(), batch.labels.end()), at::kLong)
            .cuda();
    at::Tensor rows_of = sample;
    if (problem_.rate < 1) {
      at::Tensor chance = at::rand({weight_.size(0)}, there());
      chance.index_put_({std::get<0>(at::_unique(labels))}, at::full({}, 2.0F, there()));
      const auto count =
          static_cast<std::int64_t>(problem_.rate * static_cast<double>(problem_.classes));
      drawn_ = std::get<0>(std::get<1>(chance.topk(count)).sort());
    }
    at::Tensor weight = problem_.rate < 1 ? weight_.index_select(0, sample) : weight_.detach();
    at::Tensor momentum = problem_.rate < 1 ? momentum_.index_select(0, sample) : momentum_;
    weight.requires_grad_(true);
    const at::Tensor columns = problem_.rate < 1 ? at::searchsorted(sample, labels) : labels;
    const at::Tensor rows = at::arange(labels.size(0), there(at::kLong));
    const auto factor = [&](const at::Tensor& x) {
      const at::Tensor unit = x / x.norm(2, {1}, true).clamp_min(1e-12).expand_as(x);
      return problem_.precision == nn::Precision::bf16 ? unit.to(at::kBFloat16) : unit;
    };
    const at::Tensor logits =
        at::linear(factor(embeddings), factor(weight)).to(at::kFloat).clamp(-1, 1);
    at::Tensor scaled = logits.detach().clone();
    scaled.index_put_({rows, columns}, scaled.index({rows, columns}) - kCosine);
    scaled.mul_(kScale);
    const at::Tensor highest = std::get<0>(scaled.max(1, true));
    scaled.sub_(highest).exp_();
    scaled.div_(scaled.sum(1, true));
    Outcome outcome;
    outcome.loss = -scaled.index({rows, columns}).clamp_min(1e-30).log().mean().item<double>();
    const at::Tensor one_hot = at::zeros_like(scaled);
    one_hot.index_put_({rows, columns}, at::ones({rows.size(0)}, there()));
    scaled.sub_(one_hot).div_(static_cast<double>(labels.size(0))).mul_(kScale);
    const auto gradients = torch::autograd::grad({logits}, {embeddings, weight}, {scaled});
    c10::AutoGradMode without_gradients(false);
    // torch.optim.SGD.
    weight = weight.detach();
    momentum.mul_(kMomentum).add_(gradients[1].add(weight, kDecay));
    weight.sub_(momentum, kRate);
    if (problem_.rate < 1) {
      weight_.index_copy_(0, sample, weight);
      momentum_.index_copy_(0, sample, momentum);
    }
    outcome.gradient = gradients[0].cpu();
    return outcome;
  }

 private:
  Problem problem_;
  at::Tensor weight_, momentum_, drawn_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

double largest_share(const at::Tensor& difference, const at::Tensor& of) {
  return difference.abs().max().item<double>() / of.abs().max().item<double>();
}

/// Milliseconds of `work`, and the most memory in it beyond what was held before, in MB.
template <class Work>
std::pair<double, double> measure(const Work& work) {
  namespace allocator = c10::cuda::CUDACachingAllocator;
  cudaDeviceSynchronize();
  allocator::resetPeakStats(0);
  const auto before = allocator::getDeviceStats(0).allocated_bytes[0].current;
  const auto start = Clock::now();
  work();
  cudaDeviceSynchronize();
  const std::chrono::duration<double, std::milli> taken = Clock::now() - start;
  const auto peak = allocator::getDeviceStats(0).allocated_bytes[0].peak;
  return {taken.count(), static_cast<double>(peak - before) / 1e6};
}

at::Tensor initial_weight(const Problem& problem) {
  at::manual_seed(1);
  return at::empty({static_cast<std::int64_t>(problem.classes),
                    static_cast<std::int64_t>(problem.features)},
                   there())
      .normal_(0, 0.02);
}

void run(const Problem& problem, bool both, int rounds) {
  const auto accelerator = nn::make_accelerator(nn::Device{0});
  auto own = std::make_unique<OwnHead>(problem, initial_weight(problem), *accelerator);
  std::unique_ptr<PartialFc> port;
  if (both) port = std::make_unique<PartialFc>(problem, initial_weight(problem));
  std::vector<double> own_ms, port_ms, ratios;
  double own_mb = 0, port_mb = 0, error = 0, loss_error = 0;
  for (int round = -2; round < rounds; ++round) {
    const auto step = static_cast<std::uint64_t>(round + 2);
    const Batch batch(problem, step);
    Outcome of_own, of_port;
    at::Tensor row_before, sample;
    const bool first = round == -2;
    const auto [ms, mb] = measure([&] { of_own = own->step(step, batch); });
    // The rooms that are kept from step to step are taken in the first one.
    own_mb = std::max(own_mb, mb);
    if (both) {
      sample = own->classes();
      if (first) row_before = port->weight().index_select(0, sample.slice(0, 0, 100000));
      const auto [of_ms, of_mb] = measure([&] { of_port = port->step(batch, sample); });
      port_mb = std::max(port_mb, of_mb);
      if (first) {
        const at::Tensor some = sample.slice(0, 0, 100000);
        const at::Tensor changed = port->weight().index_select(0, some);
        error = std::max(
            largest_share(own->weight().index_select(0, some) - changed, changed - row_before),
            largest_share(of_own.gradient - of_port.gradient, of_port.gradient));
        loss_error = std::abs(of_own.loss - of_port.loss) / of_port.loss;
      }
      if (round >= 0) {
        port_ms.push_back(of_ms);
        ratios.push_back(ms / of_ms);
      }
    }
    if (round >= 0) own_ms.push_back(ms);
  }
  fmt::print(
      "{{\"bench\":\"head_gpu\",\"case\":\"{}x{} batch={} rate={} {}\",\"own_ms\":{:.2f},"
      "\"own_mb\":{:.0f}",
      problem.classes, problem.features, problem.batch, problem.rate,
      problem.precision == nn::Precision::bf16 ? "bf16" : "fp32", median(own_ms), own_mb);
  if (both)
    fmt::print(
        ",\"ratio_time\":{:.3f},\"ratio_memory\":{:.3f},\"port_ms\":{:.2f},\"port_mb\":{:.0f}"
        ",\"max_error\":{:.1e},\"loss_error\":{:.1e}",
        median(ratios), own_mb / port_mb, median(port_ms), port_mb, error, loss_error);
  cudaDeviceProp properties{};
  cudaGetDeviceProperties(&properties, 0);
  fmt::print(",\"gpu\":\"{}\"}}\n", properties.name);
  std::fflush(stdout);
}

/// The largest number of classes of 512 features with momentum that a card holds, from its memory.
std::uint64_t most_classes() {
  std::size_t free = 0, total = 0;
  cudaMemGetInfo(&free, &total);
  constexpr double kRooms = 2e9;
  const double classes = (static_cast<double>(free) - kRooms) / (2 * 512 * 4);
  return static_cast<std::uint64_t>(classes / 1e5) * 100'000;
}

}  // namespace
}  // namespace retort::bench

int main(int argc, char** argv) {
  using retort::bench::Problem;
  using retort::nn::Precision;
  try {
    const auto number = [&](int i) { return std::strtoull(argv[i], nullptr, 10); };
    if (argc == 8) {
      retort::bench::run({number(1), number(2), number(3), std::strtod(argv[4], nullptr),
                          std::string(argv[5]) == "bf16" ? Precision::bf16 : Precision::fp32},
                         std::string(argv[6]) == "both", static_cast<int>(number(7)));
      return 0;
    }
    for (const std::uint64_t classes : {1'000'000, 10'000'000})
      for (const Precision precision : {Precision::bf16, Precision::fp32}) {
        retort::bench::run({classes, 512, 512, 0.1, precision}, true, 9);
        c10::cuda::CUDACachingAllocator::emptyCache();
      }
    for (const Precision precision : {Precision::bf16, Precision::fp32}) {
      retort::bench::run({1'000'000, 512, 512, 1, precision}, true, 9);
      c10::cuda::CUDACachingAllocator::emptyCache();
    }
    retort::bench::run({retort::bench::most_classes(), 512, 512, 0.1, Precision::bf16}, false, 5);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "head_gpu_bench: %s\n", error.what());
    return 1;
  }
  return 0;
}
