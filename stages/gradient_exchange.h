// Gradients of micro-shards on their way to one sum: collected bucket by bucket while a backward
// pass runs, added along the fixed tree as soon as both children of a node are there, exchanged
// with the other ranks while earlier layers are still being differentiated (docs/ARCHITECTURE.md).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include <ATen/core/Tensor.h>

#include "comm/communicator.h"
#include "comm/tree_reducer.h"
#include "nn/parameters.h"

namespace retort::stages {

class GradientExchange {
 public:
  /// Buckets of at least `bucket_elements` elements (the last may be smaller), cut at parameters,
  /// from the last parameter to the first. `shards`: S.
  GradientExchange(comm::Communicator& communicator, const nn::ParameterLayout& layout,
                   std::uint32_t shards, std::uint64_t bucket_elements);
  ~GradientExchange();

  /// Starts a step whose first `active` micro-shards hold samples. Collective in order.
  void begin(std::uint32_t active);

  /// The gradient of one micro-shard in the making. Used by one thread.
  struct Slot;
  Slot* open(std::uint32_t shard);
  /// The gradient of one parameter is final; its values are copied. A sparse one (nn/backward.h)
  /// costs what its rows cost, here and where they are added; the sum is the same, bit for bit, as
  /// if it were dense.
  void ready(Slot* slot, int parameter, const at::Tensor& gradient);
  /// The backward pass is through: parameters that got no gradient count as zero.
  void close(Slot* slot);

  /// Waits for the sums: the flat gradient over all active micro-shards, equal on all ranks; valid
  /// until the next begin().
  at::Tensor& finish();
  std::size_t buckets() const { return buckets_.size(); }
  /// Gradient vectors that were ever alive at once on this rank (memory, for tests).
  std::size_t slots() const { return slots_.size(); }

 private:
  struct Bucket {
    std::uint64_t begin = 0;  // elements of the flat vector
    std::uint64_t end = 0;
    std::size_t first = 0;     // parameters of the layout
    std::size_t last = 0;      // past the end
    std::vector<Slot*> nodes;  // by heap number (shards >> level) + index: where the sum lies
    std::vector<Slot*> tops;   // by index in tops_
    std::size_t tops_done = 0;
  };
  std::uint64_t end_of(const Bucket& bucket, std::size_t parameter) const;
  void scatter(Slot& slot, std::size_t parameter, const at::Tensor& gradient) const;
  void add(Slot& left, const Slot& right, const Bucket& bucket) const;
  void complete(std::size_t bucket, std::uint32_t shard, Slot* slot);
  void start_ready_buckets();
  void release(Slot* slot);

  comm::TreeReducer reducer_;
  const nn::ParameterLayout& layout_;
  std::uint32_t shards_;
  std::uint32_t active_ = 0;
  std::vector<Bucket> buckets_;
  std::vector<int> bucket_of_;        // by parameter
  std::vector<comm::TreeNode> tops_;  // what this rank brings in this step
  std::vector<int> top_of_;           // by heap number of a node: index in tops_, or -1
  std::size_t next_bucket_ = 0;
  std::vector<comm::Pending> pending_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
  at::Tensor total_;
};

}  // namespace retort::stages
