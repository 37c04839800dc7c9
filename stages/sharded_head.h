// A classifier's last layer, its loss and its gradients with the classes divided among ranks
// (nn/class_head): no rank holds the whole weight or a batch x classes matrix. With one rank it is
// the chunked linear layer and loss. methods/topk-distillation.md, "Class-sharded head";
// methods/similarity-labels.md, "Training with a class-sharded softmax".
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/tree_reducer.h"
#include "nn/class_head/class_head.h"
#include "nn/class_head/device_head.h"
#include "nn/class_head/row_solution.h"
#include "stages/workers.h"

namespace retort::stages {

/// The classes whose weights a rank owns. UsageError: more ranks than tiles of classes.
core::Range own_head_classes(const nn::HeadSettings& settings,
                             const comm::Communicator& communicator);

class ShardedHead {
 public:
  /// Collective. UsageError: more ranks than tiles of classes; a sample rate outside (0, 1]. The
  /// communicator, the workers and the accelerator, for those that compute on one, outlive this.
  ShardedHead(comm::Communicator& communicator, Workers& workers, const nn::HeadSettings& settings,
              const nn::Accelerator* accelerator = nullptr);
  ~ShardedHead();

  /// The classes whose weights this rank owns.
  core::Range own_classes() const { return head_.own_classes(); }
  std::uint32_t tiles() const { return head_.tiles().count(); }
  std::uint64_t classes() const { return settings_.classes; }

  /// Collective. The first half of a step over all ranks' rows, in order of ranks: the losses.
  /// `embeddings`: [rows, features] of this rank, of any length also where the head's form
  /// normalises them, whose targets are in `losses`, one after another;
  /// weights in those are of the whole batch. `weights` begin at own_classes(). Returns the sums of
  /// each of `losses`: the same bits on any number of ranks and workers. DataError: a sample rate
  /// that leaves a row no class but those it lists.
  template <class T>
  std::vector<nn::LossSums> solve(std::uint64_t step, std::span<const float> embeddings,
                                  std::span<nn::ListedLoss<T>> losses,
                                  const nn::HeadWeights& weights);
  /// Collective. The second half: the gradient on this rank's embeddings, [rows, features]. `take`
  /// gets the gradient of each class of this rank that takes part, over all ranks' rows; it may
  /// change its weights. The same bits as above.
  std::vector<float> gradients(const nn::HeadWeights& weights, const nn::TakeGradients& take);
  /// Both halves on the accelerator, where the weights are: the same numbers up to rounding, the
  /// same bits on the same number of ranks.
  std::vector<nn::LossSums> solve(std::uint64_t step, std::span<const float> embeddings,
                                  std::span<nn::ListedLoss<float>> losses,
                                  const nn::DeviceHeadWeights& weights);
  std::vector<float> gradients(const nn::DeviceHeadWeights& weights,
                               const nn::TakeDeviceGradients& take);
  /// The gradients of this rank's classes once more, before their weights change. Not collective.
  void weight_gradients(const nn::HeadWeights& weights, const nn::TakeGradients& take);
  void weight_gradients(const nn::DeviceHeadWeights& weights, const nn::TakeDeviceGradients& take);

  /// How one row of an evaluation came out.
  struct Score {
    nn::RowSummary summary;
    double gold_logit_mean = 0;   // over the row's gold classes
    std::uint64_t gold_rank = 0;  // classes before the first gold one
  };
  /// Collective. Scores of this rank's rows, where all classes take part; `gold`: the classes of
  /// each row, of which there may be none. Ends a step that solve() began.
  std::vector<Score> score(std::span<const float> embeddings, const nn::ListedClasses& gold,
                           const nn::HeadWeights& weights);

  /// The first k classes of each row and, for each temperature, the log-sum-exp of all others.
  struct Best {
    std::vector<std::uint32_t> ids;  // [rows, k]: higher logit, then lower class
    std::vector<float> values;       // [rows, k] logits
    std::vector<float> tails;        // [rows, temperatures]; -inf: there are no others
  };
  /// Collective. Of this rank's rows, over all classes; k at most their number. A row with a logit
  /// that is not finite has one among `values` or `tails`, too. Ends a step that solve() began.
  Best best(std::span<const float> embeddings, std::uint64_t k,
            std::span<const double> temperatures, const nn::HeadWeights& weights);

 private:
  struct Batch;  // what all ranks know of each other's rows
  void gather(std::span<const float> embeddings, const nn::ListedClasses& listed,
              nn::HeadPart::Wanted wanted);
  template <class T>
  void gather(std::span<const float> embeddings, std::span<const nn::ListedLoss<T>> losses);
  /// The embeddings of all ranks, laid out for the CPU's products.
  const nn::HeadRows& rows();
  void add_up(nn::ClassHead& head, std::uint64_t step, const nn::HeadWeights& weights);
  void reduce_sums(const nn::HeadPart& head);
  template <class T>
  std::vector<nn::LossSums> solve_own(std::span<nn::ListedLoss<T>> losses);
  std::vector<float> scatter(std::vector<std::span<float>> parts);
  nn::BatchSums sums() const;

  comm::Communicator& communicator_;
  nn::HeadSettings settings_;
  nn::ClassHead head_;
  nn::ClassHead all_classes_;  // none left out
  const nn::Accelerator* accelerator_;
  std::optional<nn::DeviceHead> device_;  // where there is an accelerator
  comm::TreeReducer reducer_;
  std::unique_ptr<Batch> batch_;
};

}  // namespace retort::stages
