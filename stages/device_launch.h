// Forward pass, loss and backward pass of micro-shards on an accelerator.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include <ATen/core/Tensor.h>

#include "io/loader.h"
#include "nn/accelerator.h"
#include "nn/model.h"
#include "stages/step_input.h"
#include "stages/trainer.h"

namespace retort::stages {

/// Where the numbers of a launch will lie on the host once the GPU has come to them.
struct LaunchResults {
  Launch launch;
  std::vector<std::vector<std::uint64_t>> samples;  // ids, by micro-shard
  std::vector<double> counts;                       // BatchStatistics::sums of the host: counts
  at::Tensor rows;                                  // staging: RowLossSums of each row
  at::Tensor statistics;                            // staging: fp64 [count, statistics size]
};
/// shard_sums() of each micro-shard, losses added row after row. After the GPU has come to them.
/// DataError for a loss that is not finite and for classes out of range.
std::vector<std::vector<double>> shard_sums_of(const LaunchResults& results, std::uint64_t step,
                                               int rank);

/// Queues to[...] = from, whole; `to`: staging.
void queue_download(const nn::Accelerator& accelerator, const at::Tensor& from, at::Tensor& to);

/// One thread. Everything is queued on that thread's stream; nothing waits but for memory that is
/// used again.
class DeviceLauncher {
 public:
  DeviceLauncher(nn::Accelerator& accelerator, const TrainingJob& job, std::uint64_t seed);
  /// The flat parameters on the device, used by all launches to come.
  void use(const at::Tensor& parameters);
  /// Takes the micro-shards of `launch` from `source` and queues their way to the device beside
  /// what is computed. `batch_rows`: rows of the global batch.
  void load(const Launch& launch, io::Loader& source, const BatchRows& batch_rows);
  /// Queues the computation of what was loaded; its gradient, added over the micro-shards, is in
  /// gradient() until the next compute().
  LaunchResults compute(std::uint64_t step);
  const at::Tensor& gradient() const { return gradient_; }

 private:
  /// Half of the way to the device: one half is filled while the other is used.
  struct Slot {
    at::Tensor host;                 // staging
    at::Tensor device;               // of the same size
    std::unique_ptr<nn::Mark> sent;  // computed with: both may be filled again
  };
  /// Results: used again once the host has looked at them, two steps later.
  struct Room {
    at::Tensor rows, statistics;
  };
  /// What a recording depends on.
  struct Key {
    StepLayout layout;
    Launch launch;
    bool operator==(const Key&) const = default;
  };
  struct Recording {
    Key key;
    std::uint64_t seen = 0;
    std::unique_ptr<nn::RecordedWork> work;
    std::vector<double> counts;
    bool refused = false;
  };

  void forward_backward(const Launch& launch, std::uint64_t step);
  Recording& recording_of(const Key& key);

  nn::Accelerator& accelerator_;
  const TrainingJob& job_;
  const nn::Model& model_;
  std::uint64_t seed_;
  std::vector<at::Tensor> parameters_;  // views
  at::Tensor gradient_, block_, rows_, statistics_;
  std::array<Slot, 2> slots_;
  std::uint64_t loads_ = 0;
  Launch launch_;
  StepLayout layout_;
  RowTargets targets_;
  std::vector<std::vector<std::uint64_t>> samples_;
  std::vector<std::uint64_t> all_samples_;
  std::vector<double> counts_;
  std::vector<Recording> recordings_;
};

}  // namespace retort::stages
