// Fixed-order all-reduce of float and double vectors along the tree of reduction_tree.h:
// each rank brings the sums of its maximal nodes, slices go to their owners, owners add the top of
// the tree in its order, slices are gathered. Ranks of one host pass slices through shared memory,
// others through messages, both in segments that overlap; short vectors go whole to every rank,
// which adds them itself (one exchange instead of two).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/reduction_tree.h"
#include "core/range.h"

namespace retort::comm {

/// For a step whose first `active` of `shards` micro-shards hold samples; the rest are absent, and
/// adding an absent node is the identity (no +0.0 is added).
class TreeReducer {
 public:
  enum class Path { automatic, messages };
  /// `shards`: S, a power of two >= size of the communicator: UsageError. Collective (not within
  /// run()). The communicator must outlive this. Path::messages leaves shared memory out.
  TreeReducer(Communicator& communicator, std::uint32_t shards, Path path = Path::automatic);
  ~TreeReducer();

  /// The nodes this rank must bring in a step with `active` micro-shards (1..S), left to right:
  /// cover(rank_shards(S, size, rank) below `active`), so no leaf of theirs is absent. Empty for a
  /// rank without active micro-shards.
  std::vector<TreeNode> nodes(std::uint32_t active) const;

  /// parts[i]: the sum of nodes(active)[i], n elements each, added along the tree by the caller.
  /// Result: the sum over all active micro-shards in `out` (n elements), the same bits on every
  /// rank and for every world size. `out` may be parts[0], else no overlap; the same n on all
  /// ranks. Starts at once, on the communication thread; buffers belong to the operation until
  /// wait(). Same order of starts on all ranks. InternalError if the parts are not those of
  /// nodes(active).
  Pending start(std::uint32_t active, std::vector<std::span<float>> parts, std::span<float> out);
  /// The same sum, of which this rank gets the elements slices[rank] alone, in `out`: a
  /// reduce-scatter. slices[r]: those of rank r, one after another, together all n; the same on all
  /// ranks, some may be empty. `out` overlaps no part.
  Pending scatter(std::uint32_t active, std::vector<std::span<float>> parts,
                  std::vector<core::Range> slices, std::span<float> out);
  /// As start() in double, blocking.
  void reduce(std::uint32_t active, std::vector<std::span<double>> parts, std::span<double> out);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// a[i] += b[i]: the one addition of the tree. Plain IEEE additions, vectorised.
void add_in_place(std::span<float> a, std::span<const float> b);
void add_in_place(std::span<double> a, std::span<const double> b);

}  // namespace retort::comm
