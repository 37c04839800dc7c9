// What one rank sends, receives and adds in a fixed-order all-reduce, as plain numbers: the
// schedule that GpuReducer hands to NCCL, and that tests run on the CPU. Private to comm.
#pragma once

#include <cstddef>
#include <vector>

#include "comm/reduction_plan.h"
#include "core/range.h"

namespace retort::comm {

/// First every rank sends the slices of its parts to their owners, the owner adds along the tree,
/// then it sends its slice of the sum to all others. Ranges are elements of the vector. Transfers
/// between two ranks are listed in the same order on both sides.
struct ExchangeSchedule {
  ExchangeSchedule(const ReductionPlan& plan, int rank, int size, std::size_t n);

  struct Send {
    int peer = 0;
    int part = 0;  // of this rank
    core::Range range;
  };
  struct Receive {
    int peer = 0;
    std::size_t staging = 0;  // first element; mine.size() follow
  };
  /// An input of the sum over `mine`, left to right.
  struct Input {
    int part = -1;            // of this rank, or
    std::size_t staging = 0;  // what was received
  };
  struct Gather {
    int peer = 0;
    core::Range range;  // what the peer owns: to receive; `mine` is sent. Either may be empty
  };
  core::Range mine;  // the slice that this rank owns
  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::vector<Input> inputs;
  std::vector<Gather> gathers;
  std::size_t staging = 0;  // elements
};

}  // namespace retort::comm
