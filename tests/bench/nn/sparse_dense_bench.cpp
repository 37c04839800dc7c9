// sparse_dense: reading a batch's targets and computing loss and gradient on them, with the
// teacher's top-20 logits and tail as teach stores them (residual tail) against a dense fp32 vector
// of all logits per row and the full Kullback-Leibler loss, both beside the hard loss. One thread,
// its own CPU time, rounds in turn; files are in the page cache, which favours the dense side.
// Memory: how much a step raises the peak of a process that holds the student's logits and gradient
// already.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/heap.h"
#include "core/random.h"
#include "io/logit_store.h"
#include "nn/kernels/row_ops.h"
#include "nn/loss.h"
#include "tests/bench/io/interleaved.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/write_logits.h"

namespace retort::nn {
namespace {

constexpr std::uint32_t kTopK = 20;
constexpr std::uint64_t kBatch = 256, kSamples = 1024;
constexpr double kTemperature = 2, kAlpha = 0.75;
constexpr int kRounds = 7;

/// What both sides are given: student logits, gold labels, where the gradient goes.
struct Student {
  explicit Student(std::uint64_t n) : classes(n), logits(kBatch * n), grad(kBatch * n) {
    core::RandomStream random(1, core::RandomUse::test, {n});
    for (float& s : logits) s = 2 * random.normal();
    for (std::uint32_t row = 0; row <= kBatch; ++row) label_begin.push_back(row);
    for (std::uint64_t row = 0; row < kBatch; ++row)
      labels.push_back(static_cast<std::uint32_t>(random.below(n)));
  }
  std::uint64_t classes;
  std::vector<float> logits, grad;
  std::vector<std::uint32_t> label_begin, labels;
};

/// Another batch each time, the same for both sides.
std::vector<std::uint64_t> batch_of(std::uint64_t step) {
  core::RandomStream random(2, core::RandomUse::test, {step});
  std::vector<std::uint64_t> samples(kBatch);
  for (auto& s : samples) s = random.below(kSamples);
  return samples;
}

class Sparse {
 public:
  Sparse(const std::filesystem::path& folder, std::uint64_t classes)
      : store_(write(folder, classes)) {}
  double step(Student& student, std::uint64_t number) const {
    std::vector<std::uint32_t> ids(kBatch * kTopK);
    std::vector<float> values(ids.size()), tail(kBatch);
    store_.read(0, batch_of(number), ids, values, tail);
    const HardTargets<float> hard{student.label_begin, student.labels};
    const SparseTargets<float> soft{kTopK, ids, values, tail};
    const LossSums sums = loss_and_gradient<float>(
        kBatch, student.classes, student.logits, &hard, static_cast<float>(kAlpha / kBatch), &soft,
        {.temperature = kTemperature}, static_cast<float>((1 - kAlpha) / kBatch),
        std::span(student.grad));
    return sums.hard + sums.soft;
  }
  std::uint64_t row_bytes() const { return store_.facts().layout.row_bytes(); }

 private:
  static io::LogitStore write(const std::filesystem::path& folder, std::uint64_t classes) {
    io::LogitFacts facts;
    facts.layout.classes = classes;
    facts.layout.top_k = kTopK;
    facts.layout.temperatures = {kTemperature};
    facts.samples = facts.shard_samples = kSamples;
    io::write_logits(folder, facts);
    return io::LogitStore(folder);
  }
  io::LogitStore store_;
};

/// One file of whole rows; full distillation with the row kernels that the sparse loss uses.
class Dense {
 public:
  Dense(const std::filesystem::path& path, std::uint64_t classes) : classes_(classes) {
    std::ofstream out(path, std::ios::binary);
    std::vector<float> row(classes);
    for (std::uint64_t s = 0; s < kSamples; ++s) {
      core::RandomStream random(3, core::RandomUse::test, {s});
      for (float& z : row) z = 2 * random.normal();
      out.write(reinterpret_cast<const char*>(row.data()),
                static_cast<std::streamsize>(row_bytes()));
    }
    if (!out.flush()) std::abort();
    file_ = ::open(path.c_str(), O_RDONLY);
  }
  ~Dense() { ::close(file_); }
  Dense(const Dense&) = delete;
  Dense& operator=(const Dense&) = delete;

  double step(Student& student, std::uint64_t number) const {
    std::vector<float> targets(kBatch * classes_), hard_exp(classes_), soft_exp(classes_);
    const auto samples = batch_of(number);
    for (std::uint64_t i = 0; i < kBatch; ++i)
      if (::pread(file_, targets.data() + i * classes_, row_bytes(),
                  static_cast<off_t>(samples[i] * row_bytes())) !=
          static_cast<ssize_t>(row_bytes()))
        std::abort();
    double loss = 0;
    for (std::uint64_t i = 0; i < kBatch; ++i)
      loss += row_step(student, i, targets.data() + i * classes_, hard_exp, soft_exp);
    return loss;
  }
  std::uint64_t row_bytes() const { return classes_ * sizeof(float); }

 private:
  double row_step(Student& student, std::uint64_t row, float* target, std::vector<float>& hard_exp,
                  std::vector<float>& soft_exp) const {
    const float* s = student.logits.data() + row * classes_;
    float* grad = student.grad.data() + row * classes_;
    const float scale = static_cast<float>(1 / kTemperature);
    const float highest = row_max(s, classes_), teacher_highest = row_max(target, classes_);
    const double hard_sum = row_exp(s, classes_, highest, 1.0F, hard_exp.data());
    const double soft_sum = row_exp(s, classes_, highest, scale, soft_exp.data());
    const double teacher_sum = row_exp(target, classes_, teacher_highest, scale, target);
    const double log_all = static_cast<double>(highest) / kTemperature + std::log(soft_sum);
    const double weight = (1 - kAlpha) / kBatch * kTemperature;  // c / tau
    const auto of_hard = static_cast<float>(kAlpha / kBatch / hard_sum);
    const auto of_soft = static_cast<float>(weight / soft_sum);
    const auto of_teacher = static_cast<float>(weight / teacher_sum);
    for (std::uint64_t j = 0; j < classes_; ++j)
      grad[j] = hard_exp[j] * of_hard + (soft_exp[j] * of_soft - target[j] * of_teacher);
    for (std::uint64_t j = 0; j < classes_; ++j) hard_exp[j] = target[j] * s[j];
    const double cross = row_sum(hard_exp.data(), classes_);
    const std::uint32_t gold = student.labels[row];
    grad[gold] -= static_cast<float>(kAlpha / kBatch);
    return static_cast<double>(highest) + std::log(hard_sum) - static_cast<double>(s[gold]) +
           kTemperature * kTemperature * (log_all - cross / teacher_sum / kTemperature);
  }

  std::uint64_t classes_;
  int file_ = -1;
};

/// A line of /proc/self/status, in bytes.
std::uint64_t status_bytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(name + ":")) return 1024 * std::stoull(line.substr(name.size() + 1));
  return 0;
}

/// How far a step raises the peak of resident memory, in a process of its own.
template <class Work>
std::uint64_t peak_of(Work&& work) {
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  const pid_t child = ::fork();
  if (child == 0) {
    const std::uint64_t before = status_bytes("VmRSS");
    work();
    const std::uint64_t peak = status_bytes("VmHWM");
    const std::uint64_t raised = peak > before ? peak - before : 0;
    std::_Exit(::write(ends[1], &raised, sizeof raised) == sizeof raised ? 0 : 1);
  }
  std::uint64_t raised = 0;
  if (::read(ends[0], &raised, sizeof raised) != sizeof raised) std::abort();
  ::waitpid(child, nullptr, 0);
  ::close(ends[0]);
  ::close(ends[1]);
  return raised;
}

/// Largest difference between the fp32 gradient and the one in fp64, relative to the largest.
double gradient_error(const std::filesystem::path& folder, const Student& student) {
  const io::LogitStore store(folder);
  std::vector<std::uint32_t> ids(kBatch * kTopK);
  std::vector<float> values(ids.size()), tail(kBatch);
  store.read(0, batch_of(0), ids, values, tail);
  const auto run = [&]<class T>(T) {
    const std::vector<T> s(student.logits.begin(), student.logits.end());
    const std::vector<T> z(values.begin(), values.end()), r(tail.begin(), tail.end());
    std::vector<T> grad(s.size());
    const HardTargets<T> hard{student.label_begin, student.labels};
    const SparseTargets<T> soft{kTopK, ids, z, r};
    loss_and_gradient<T>(kBatch, student.classes, s, &hard, static_cast<T>(kAlpha / kBatch), &soft,
                         {.temperature = kTemperature}, static_cast<T>((1 - kAlpha) / kBatch),
                         std::span(grad));
    return grad;
  };
  const auto single = run(0.0F);
  const auto precise = run(0.0);
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < precise.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(single[i]) - precise[i]));
    largest = std::max(largest, std::abs(precise[i]));
  }
  return worst / largest;
}

void run_case(std::uint64_t classes) {
  const core::TemporaryFolder folder;
  Student student(classes);
  const Sparse sparse(folder.path() / "logits", classes);
  const Dense dense(folder.path() / "dense", classes);
  const std::uint64_t sparse_peak = peak_of([&] { sparse.step(student, 0); });
  const std::uint64_t dense_peak = peak_of([&] { dense.step(student, 0); });
  std::uint64_t sparse_step = 0, dense_step = 0;
  double sum = 0;
  const auto result = bench::compare(
      kRounds, [&] { sum += sparse.step(student, sparse_step++); },
      [&] { sum += dense.step(student, dense_step++); });
  if (!std::isfinite(sum)) std::abort();
  fmt::print(
      "{{\"bench\":\"sparse_dense\",\"case\":\"{} classes, top {}\",\"ratio_time\":{:.3f},"
      "\"ratio_memory\":{:.4f},\"ratio_stored\":{:.5f},\"sparse_ms\":{:.2f},\"dense_ms\":{:.2f},"
      "\"sparse_peak_bytes\":{},\"dense_peak_bytes\":{},\"sparse_row_bytes\":{},"
      "\"dense_row_bytes\":{},\"batch\":{},\"temperature\":{},\"tail\":\"residual\","
      "\"max_error\":{:.2g},\"dtype\":\"fp32\",\"threads\":1,\"rounds\":{},"
      "\"allocator\":\"glibc, kept heap\"}}\n",
      classes, kTopK, 1 / result.ratio,
      static_cast<double>(sparse_peak) / static_cast<double>(dense_peak),
      static_cast<double>(sparse.row_bytes()) / static_cast<double>(dense.row_bytes()),
      1e3 * result.subject, 1e3 * result.reference, sparse_peak, dense_peak, sparse.row_bytes(),
      dense.row_bytes(), kBatch, kTemperature, gradient_error(folder.path() / "logits", student),
      kRounds);
  std::fflush(stdout);
}

}  // namespace
}  // namespace retort::nn

int main() {
  // As launch sets the process up: freed blocks stay in the heap, on both sides of the comparison.
  retort::core::keep_heap();
  retort::bench::pin_to(retort::bench::allowed_cores().at(0));
  for (const std::uint64_t classes : {3000, 30000}) retort::nn::run_case(classes);
}
