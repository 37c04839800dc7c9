// teach_overhead: the capture of a teacher's top-K logits, to shards on disk, against the same
// model's plain inference over the same samples with the same workers.
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "comm/communicator.h"
#include "core/clock.h"
#include "core/heap.h"
#include "core/log.h"
#include "stages/capture_run.h"
#include "stages/inference.h"
#include "stages/row_encoding.h"
#include "stages/workers.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/stages/small_teacher.h"

namespace retort::stages {
namespace {

constexpr int kRounds = 7;

struct Case {
  std::uint64_t classes;
  std::uint64_t samples;
  std::uint64_t batch;
};

/// Keeps this process, with all its threads, on two cores; how many there are.
int pin_to_two_cores() {
  cpu_set_t allowed, two;
  sched_getaffinity(0, sizeof allowed, &allowed);
  CPU_ZERO(&two);
  for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&two) < 2; ++core)
    if (CPU_ISSET(core, &allowed)) CPU_SET(core, &two);
  sched_setaffinity(0, sizeof two, &two);
  return CPU_COUNT(&two);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Seconds to load and compute every batch of every shard, and keep nothing.
double plain_inference(const Capture& capture, Workers& workers) {
  const io::LogitFacts& facts = capture.facts;
  std::vector<core::Range> tasks;
  for (std::uint64_t shard = 0; shard < io::logit_shard_count(facts); ++shard) {
    const core::Range range = io::logit_shard_range(facts, shard);
    for (std::uint64_t i = 0; i < capture.batches(range); ++i)
      tasks.push_back(capture.samples(range, i));
  }
  std::atomic<std::size_t> next{0};
  std::atomic<double> sum{0};
  const core::Stopwatch watch;
  workers.run([&](int) {
    for (std::size_t i = next++; i < tasks.size(); i = next++) {
      const at::Tensor logits = infer(capture.teacher, load_batch(capture, 0, tasks[i]));
      sum += static_cast<double>(logits.const_data_ptr<float>()[0]);
    }
  });
  return watch.seconds();
}

/// Seconds of a whole capture into a fresh folder, until the last shard is on disk.
double whole_capture(const Capture& capture, int threads) {
  const core::TemporaryFolder folder;
  comm::Communicator one = comm::Communicator::single();
  StageContext context{
      .communicator = one, .threads = threads, .stage = "teach", .recipe = "", .configuration = ""};
  io::MemberLedger ledger(folder.path() / "logits", "bench");
  const core::Stopwatch watch;
  run_capture(context, capture, ledger);
  return watch.seconds();
}

/// Largest difference of stored logits from those that the teacher gave, over one batch.
double storage_error(const Capture& capture) {
  const io::LogitLayout& layout = capture.facts.layout;
  const io::MicroBatch batch =
      load_batch(capture, 0, {0, std::min<std::uint64_t>(64, capture.batch)});
  const at::Tensor logits = infer(capture.teacher, batch);
  const std::span<const float> values(logits.const_data_ptr<float>(),
                                      static_cast<std::size_t>(logits.numel()));
  const io::EncodedRows rows = encode_batch(capture, 0, batch, values);
  std::vector<std::uint32_t> ids(layout.top_k);
  std::vector<float> stored(layout.top_k), tails(layout.temperatures.size());
  double worst = 0;
  for (std::size_t row = 0; row < batch.samples.size(); ++row) {
    io::decode_row(layout,
                   std::span(rows.bytes).subspan(row * layout.row_bytes(), layout.row_bytes()),
                   {ids, stored, tails});
    for (std::size_t k = 0; k < ids.size(); ++k)
      worst = std::max(worst, std::abs(static_cast<double>(stored[k]) -
                                       static_cast<double>(values[row * layout.classes + ids[k]])));
  }
  return worst;
}

void run_case(const Case& what, int threads) {
  const core::TemporaryFolder folder;
  SmallProblem problem;
  problem.shape = {24, 24, 1};
  problem.classes = what.classes;
  problem.samples = what.samples;
  write_noise(folder.path() / "data", problem);
  write_teacher(folder.path() / "teacher", problem, "convnet",
                {{"channels", "32,64,128,256"}, {"strides", "2,1,2,2"}}, 5);
  const LoadedModel teacher = load_model(folder.path() / "teacher");
  const io::PackedDataset data(folder.path() / "data", "train");
  const io::AugmentOptions augment;
  io::LogitFacts facts;
  facts.layout.classes = what.classes;
  facts.layout.top_k = 20;
  facts.layout.temperatures = {1, 2, 3, 4};
  facts.samples = data.size();
  facts.shard_samples = 4096;
  facts.augment = augment.text();
  facts.data_digest = data.digest();
  facts.class_digest = data.class_digest();
  facts.teacher_digest = teacher.digest;
  facts.split = "train";
  const Capture capture{teacher, data, facts, augment, what.batch};

  Workers workers(threads);
  plain_inference(capture, workers);
  std::vector<double> plain, whole, ratio;
  for (int round = 0; round < kRounds; ++round) {
    plain.push_back(plain_inference(capture, workers));
    whole.push_back(whole_capture(capture, threads));
    ratio.push_back(whole.back() / plain.back());
  }
  fmt::print(
      "{{\"bench\":\"teach_overhead\",\"case\":\"{} classes\",\"ratio_time\":{:.4f},"
      "\"median_of_ratios\":{:.4f},\"capture_s\":{:.3f},\"plain_s\":{:.3f},"
      "\"samples_per_s\":{:.0f},\"samples\":{},\"batch\":{},\"top_k\":20,\"temperatures\":4,"
      "\"bytes_per_row\":{},\"max_error\":{:.3g},\"dtype\":\"fp32\",\"threads\":{},\"rounds\":{},"
      "\"allocator\":\"glibc, kept heap\"}}\n",
      what.classes, median(whole) / median(plain), median(ratio), median(whole), median(plain),
      static_cast<double>(what.samples) / median(whole), what.samples, what.batch,
      facts.layout.row_bytes(), storage_error(capture), threads, kRounds);
  std::fflush(stdout);
}

}  // namespace
}  // namespace retort::stages

int main() {
  // As launch sets the process up: freed blocks stay in the heap, on both sides of the comparison.
  retort::core::keep_heap();
  setenv("OMP_NUM_THREADS", "1", 1);
  setenv("MKL_NUM_THREADS", "1", 1);
  retort::core::start_log(retort::core::LogLevel::warning, 0);
  const int threads = retort::stages::pin_to_two_cores();
  retort::stages::run_case({1000, 32'768, 256}, threads);
  retort::stages::run_case({100'000, 2048, 64}, threads);
}
