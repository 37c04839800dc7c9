// A classifier's last layer, its loss and its gradients with the classes divided among ranks
// (nn/class_head): no rank holds the whole weight or a batch x classes matrix. With one rank it is
// the chunked linear layer and loss. methods/topk-distillation.md, "Class-sharded head";
// methods/similarity-labels.md, "Training with a class-sharded softmax".
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/tree_reducer.h"
#include "nn/class_head/class_head.h"
#include "stages/workers.h"

namespace retort::stages {

class ShardedHead {
 public:
  /// Collective. UsageError: more ranks than tiles of classes; a sample rate outside (0, 1]. The
  /// communicator and the workers outlive this.
  ShardedHead(comm::Communicator& communicator, Workers& workers, const nn::HeadSettings& settings);

  /// The classes whose weights this rank owns.
  core::Range own_classes() const { return head_.own_classes(); }
  std::uint32_t tiles() const { return head_.tiles().count(); }

  struct Result {
    nn::LossSums sums;            // of this rank's rows
    std::vector<float> gradient;  // on this rank's embeddings, [rows, features]
  };
  /// Collective. One step over all ranks' rows, in order of ranks. `embeddings`: [rows, features]
  /// of this rank, with its targets in `loss`; weights in `targets` are those of the whole batch.
  /// `weights` begin at own_classes(). `take` gets the gradient of each class of this rank that
  /// takes part, over all ranks' rows; it may change its weights. The same bits on any number of
  /// ranks and workers. DataError: a sample rate that leaves a row no class but those it lists.
  template <class T>
  Result step(std::uint64_t step, std::span<const float> embeddings, nn::ListedLoss<T>& loss,
              const nn::HeadWeights& weights, const nn::TakeGradients& take);

 private:
  struct Batch;  // what all ranks know of each other's rows
  Batch gather(std::span<const float> embeddings, const nn::ListedClasses& listed,
               nn::ClassHead::Wanted wanted);

  comm::Communicator& communicator_;
  nn::HeadSettings settings_;
  nn::ClassHead head_;
  comm::TreeReducer reducer_;
};

}  // namespace retort::stages
