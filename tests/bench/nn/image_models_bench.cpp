// image_models: a training step (forward, cross-entropy, backward, SGD) and inference of the image
// models against PyTorch eager with torchvision's, timm's and InsightFace's models. Alone it runs
// image_models.py, which starts it with `serve` and lets both sides take turns. One thread each,
// whose CPU time is measured; the same allocator setting.
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "core/heap.h"
#include "core/random.h"
#include "nn/backward.h"
#include "nn/layout.h"
#include "nn/loss.h"
#include "nn/model.h"
#include "nn/optimiser.h"

namespace retort::nn {
namespace {

namespace fs = std::filesystem;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class Case {
 public:
  Case(const std::string& name, std::uint32_t side, std::int64_t batch, std::uint64_t classes,
       const std::vector<std::pair<std::string, std::string>>& options)
      : factory_(make_model_factory(name)), classes_(classes) {
    core::OptionTable table;
    factory_->declare(table);
    for (const auto& [key, value] : options) table.set(key, value);
    model_ = factory_->build({{side, side, 3}, classes});
    flat_ = make_flat(model_->parameters());
    initialise(model_->parameters(), 1, flat_);
    gradient_ = make_flat(model_->parameters());
    buffers_flat_ = make_flat(model_->buffers());
    initialise(model_->buffers(), 1, buffers_flat_);
    parameters_ = views(model_->parameters(), flat_);
    gradients_ = views(model_->parameters(), gradient_);
    buffers_ = views(model_->buffers(), buffers_flat_);
    optimiser_ = make_optimiser({}, model_->parameters());
    input_ = at::empty({batch, 3, side, side}, at::kFloat);
    core::RandomStream stream(1, core::RandomUse::test, {});
    for (std::int64_t i = 0; i < input_.numel(); ++i)
      input_.mutable_data_ptr<float>()[i] = stream.normal();
    for (std::int64_t i = 0; i <= batch; ++i) label_begin_.push_back(static_cast<std::uint32_t>(i));
    for (std::int64_t i = 0; i < batch; ++i) {
      labels_.push_back(static_cast<std::uint32_t>(stream.below(classes)));
      samples_.push_back(static_cast<std::uint64_t>(i));
    }
  }

  void train() {
    BatchStatistics statistics;
    Pass pass;
    pass.training = true;
    pass.parameters = parameters_;
    pass.statistics = &statistics;
    pass.samples = samples_;
    const auto rows = static_cast<std::uint64_t>(input_.size(0));
    forward_backward(
        *model_, {.pixels = input_}, pass,
        [&](const at::Tensor& logits, at::Tensor& grad) {
          const HardTargets<float> hard{label_begin_, labels_};
          const std::uint64_t n = rows * classes_;
          loss_and_gradient<float>(rows, classes_, {logits.const_data_ptr<float>(), n}, &hard,
                                   1.0f / static_cast<float>(rows), nullptr, {}, 0,
                                   {grad.mutable_data_ptr<float>(), n});
        },
        [&](int index, const at::Tensor& gradient) {
          gradients_[static_cast<std::size_t>(index)].copy_(gradient);
        });
    at::Tensor no_average;
    optimiser_->step(1e-4, 0, flat_, gradient_, no_average);
    model_->fold_statistics(statistics.sums, buffers_flat_);
  }

  void infer() {
    const at::NoGradGuard no_graph;
    Pass pass;
    if (answering_.empty())  // as a loaded model has them
      for (const at::Tensor& parameter : parameters_)
        answering_.push_back(as_read_by_convolutions(parameter.detach()));
    pass.parameters = answering_;
    pass.buffers = buffers_;
    model_->forward({.pixels = input_}, pass);
  }

 private:
  std::unique_ptr<ModelFactory> factory_;
  std::unique_ptr<Model> model_;
  std::uint64_t classes_;
  at::Tensor flat_, gradient_, buffers_flat_, input_;
  std::vector<at::Tensor> parameters_, answering_, gradients_, buffers_;
  std::unique_ptr<Optimiser> optimiser_;
  std::vector<std::uint32_t> label_begin_, labels_;
  std::vector<std::uint64_t> samples_;
};

/// Reads "train|infer REPEATS NAME SIDE BATCH CLASSES OPTION=VALUE..." lines and answers each with
/// its times in ms.
int serve() {
  at::set_num_threads(1);
  std::map<std::string, std::unique_ptr<Case>> cases;
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    std::string what, name, word;
    int repeats = 0;
    std::uint32_t side = 0;
    std::int64_t batch = 0;
    std::uint64_t classes = 0;
    words >> what >> repeats >> name >> side >> batch >> classes;
    std::vector<std::pair<std::string, std::string>> options;
    while (words >> word)
      options.emplace_back(word.substr(0, word.find('=')), word.substr(word.find('=') + 1));
    std::unique_ptr<Case>& each = cases[line.substr(line.find(name))];
    if (!each) each = std::make_unique<Case>(name, side, batch, classes, options);
    for (int i = 0; i < repeats; ++i) {
      const double begin = cpu_seconds();
      what == "train" ? each->train() : each->infer();
      std::cout << 1e3 * (cpu_seconds() - begin) << (i + 1 < repeats ? " " : "\n") << std::flush;
    }
  }
  return 0;
}

/// The script beside this source: found from RETORT_SOURCE or from a folder above the program.
fs::path script() {
  const fs::path name = "tests/bench/nn/image_models.py";
  if (const char* source = std::getenv("RETORT_SOURCE")) return fs::path(source) / name;
  for (fs::path at = fs::read_symlink("/proc/self/exe"); at != at.root_path();
       at = at.parent_path())
    if (fs::exists(at.parent_path() / name)) return at.parent_path() / name;
  return fs::current_path() / name;
}

}  // namespace
}  // namespace retort::nn

int main(int count, char** arguments) {
  retort::core::keep_heap();
  setenv("OMP_NUM_THREADS", "1", 1);
  setenv("MKL_NUM_THREADS", "1", 1);
  if (count > 1 && std::string(arguments[1]) == "serve") return retort::nn::serve();
  const std::string python = retort::nn::script().string();
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  execlp("python3", "python3", python.c_str(), self.c_str(), nullptr);
  std::perror("python3");
  return 70;
}
