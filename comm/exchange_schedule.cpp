#include "comm/exchange_schedule.h"

namespace retort::comm {

ExchangeSchedule::ExchangeSchedule(const ReductionPlan& plan, int rank, int size, std::size_t n) {
  // One round: the whole slice is one segment.
  const Segments segments(n, size, n);
  mine = segments.slice(rank);
  for (int step = 1; step < size; ++step) {
    // From the next rank on: not everybody turns to rank 0 first.
    const int peer = (rank + step) % size;
    const core::Range theirs = segments.slice(peer);
    if (theirs.size() > 0)
      for (int part = 0; part < plan.counts[static_cast<std::size_t>(rank)]; ++part)
        sends.push_back({peer, part, theirs});
    gathers.push_back({peer, theirs});
  }
  for (const auto& input : plan.inputs) {
    if (input.rank == rank) {
      inputs.push_back({input.index, 0});
      continue;
    }
    inputs.push_back({-1, staging});
    if (mine.size() > 0) receives.push_back({input.rank, staging});
    staging += mine.size();
  }
}

}  // namespace retort::comm
