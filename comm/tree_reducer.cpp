#include "comm/tree_reducer.h"

#include <bit>
#include <cstring>
#include <map>
#include <type_traits>
#include <utility>

#include "comm/reduction_plan.h"
#include "comm/shared_window.h"
#include "core/error.h"

namespace retort::comm {
namespace {

// Below this a second exchange costs more than the additions that it shares out.
constexpr std::size_t kDirectElements = 4096;
constexpr int kDirectRanks = 16;
constexpr std::size_t kMessageElements = std::size_t{128} << 10;
constexpr std::size_t kLeastWindowElements = 256;  // of a segment; below: messages

template <class T>
std::span<std::byte> bytes_of(std::span<T> values) {
  return std::as_writable_bytes(values);
}

}  // namespace

struct TreeReducer::Impl {
  Communicator& communicator;
  std::uint32_t shards;
  int rank;
  int size;
  std::unique_ptr<SharedWindow> window;
  // What follows belongs to the communication thread.
  std::map<std::uint32_t, ReductionPlan> plans;
  std::uint32_t round = 0;             // of the window
  std::vector<std::byte> received[2];  // inputs of other ranks, by messages

  template <class T>
  struct Call {
    const ReductionPlan& plan;
    std::vector<std::span<T>> parts;
    std::span<T> out;                 // the sum, or this rank's slice of it
    std::vector<core::Range> slices;  // where each rank gets its own alone; else empty
    std::size_t elements() const {
      return slices.empty() ? out.size() : static_cast<std::size_t>(slices.back().end);
    }
    bool scatters() const { return !slices.empty(); }
    Segments segments(int size, std::size_t length) const {
      return scatters() ? Segments(slices, length) : Segments(out.size(), size, length);
    }
    /// Where this rank puts a segment that it owns.
    T* place(const Segments& all, int rank, const core::Range& segment) const {
      return out.data() + segment.begin - (scatters() ? all.slice(rank).begin : 0);
    }
  };

  template <class T>
  void check(std::uint32_t active, const std::vector<std::span<T>>& parts, std::size_t n) const;
  void check_slices(const std::vector<core::Range>& slices, std::size_t out) const;
  template <class T>
  void reduce(std::uint32_t active, std::vector<std::span<T>> parts, std::span<T> out,
              std::vector<core::Range> slices = {});
  template <class T>
  void through_window(const Call<T>& call);
  template <class T>
  void direct_through_window(const Call<T>& call);
  template <class T>
  void by_messages(const Call<T>& call);

  /// Elements of a segment: a slot holds the inputs for each owner and the slot's rank's own sum.
  template <class T>
  std::size_t window_elements(const ReductionPlan& plan) const {
    const std::size_t segments = static_cast<std::size_t>(size) * plan.most_nodes + 1;
    return window->slot_bytes() / sizeof(T) / segments / 16 * 16;
  }
  template <class F>
  void each_other(F&& f) const {
    // From the next rank on: not everybody turns to rank 0 first.
    for (int i = 1; i < size; ++i) f((rank + i) % size);
  }
};

TreeReducer::TreeReducer(Communicator& communicator, std::uint32_t shards, Path path)
    : impl_(
          new Impl{communicator, shards, communicator.rank(), communicator.size(), {}, {}, 0, {}}) {
  if (!std::has_single_bit(shards))
    throw core::UsageError("--micro-shards: " + std::to_string(shards) +
                           " is not a power of two; take one");
  if (static_cast<std::uint64_t>(impl_->size) > shards)
    throw core::UsageError(
        "--micro-shards: " + std::to_string(shards) + " are fewer than the " +
        std::to_string(impl_->size) +
        " ranks; start fewer ranks, or give --micro-shards a power of two that is at least "
        "their number (part of the recipe: it changes the result)");
  if (path == Path::automatic && impl_->size > 1) impl_->window = SharedWindow::open(communicator);
}

TreeReducer::~TreeReducer() = default;

std::vector<TreeNode> TreeReducer::nodes(std::uint32_t active) const {
  return active_nodes(impl_->shards, impl_->size, impl_->rank, active);
}

Pending TreeReducer::start(std::uint32_t active, std::vector<std::span<float>> parts,
                           std::span<float> out) {
  impl_->check(active, parts, out.size());
  return impl_->communicator.run([impl = impl_.get(), active, parts = std::move(parts), out] {
    impl->reduce(active, parts, out);
  });
}

Pending TreeReducer::scatter(std::uint32_t active, std::vector<std::span<float>> parts,
                             std::vector<core::Range> slices, std::span<float> out) {
  impl_->check_slices(slices, out.size());
  impl_->check(active, parts, static_cast<std::size_t>(slices.back().end));
  return impl_->communicator.run([impl = impl_.get(), active, parts = std::move(parts),
                                  slices = std::move(slices),
                                  out] { impl->reduce(active, parts, out, slices); });
}

void TreeReducer::reduce(std::uint32_t active, std::vector<std::span<double>> parts,
                         std::span<double> out) {
  impl_->check(active, parts, out.size());
  impl_->communicator.run([&] { impl_->reduce(active, parts, out); }).wait();
}

template <class T>
void TreeReducer::Impl::check(std::uint32_t active, const std::vector<std::span<T>>& parts,
                              std::size_t n) const {
  if (active == 0 || active > shards)
    throw core::InternalError("reduction over " + std::to_string(active) + " of " +
                              std::to_string(shards) + " micro-shards");
  const std::size_t due = active_nodes(shards, size, rank, active).size();
  if (parts.size() != due)
    throw core::InternalError("reduction: rank " + std::to_string(rank) + " brings " +
                              std::to_string(parts.size()) + " nodes instead of " +
                              std::to_string(due));
  for (const auto part : parts)
    if (part.size() != n) throw core::InternalError("reduction: parts and sum differ in length");
}

void TreeReducer::Impl::check_slices(const std::vector<core::Range>& slices,
                                     std::size_t out) const {
  bool right = slices.size() == static_cast<std::size_t>(size);
  std::uint64_t end = 0;
  for (const core::Range& slice : slices) {
    right = right && slice.begin == end && slice.end >= end;
    end = slice.end;
  }
  if (!right || slices[static_cast<std::size_t>(rank)].size() != out)
    throw core::InternalError("reduction: slices do not follow each other, or are not of `out`");
}

template <class T>
void TreeReducer::Impl::reduce(std::uint32_t active, std::vector<std::span<T>> parts,
                               std::span<T> out, std::vector<core::Range> slices) {
  const ReductionPlan& plan = plans.try_emplace(active, shards, size, active).first->second;
  const Call<T> call{plan, std::move(parts), out, std::move(slices)};
  if (call.elements() == 0) return;
  if (size == 1) {
    std::vector<const T*> inputs;
    for (const auto part : call.parts) inputs.push_back(part.data());
    plan.sum.template add<T>(inputs, out.data(), out.size());
  } else if (!window || window_elements<T>(plan) < kLeastWindowElements) {
    by_messages(call);
  } else if (!call.scatters() && out.size() <= kDirectElements &&
             out.size_bytes() * plan.most_nodes <= window->slot_bytes()) {
    direct_through_window(call);
  } else {
    through_window(call);
  }
}

template <class T>
void TreeReducer::Impl::direct_through_window(const Call<T>& call) {
  const auto meanwhile = [this] { communicator.progress(); };
  const std::size_t n = call.out.size();
  const std::uint32_t done = round + 1;
  SharedWindow::Counters& own = window->counters(rank);
  each_other([&](int other) {
    window->counters(other).copied.wait(done - SharedWindow::kSlots, meanwhile);
  });
  for (std::size_t i = 0; i < call.parts.size(); ++i)
    std::memcpy(window->slot(rank, round) + i * n * sizeof(T), call.parts[i].data(), n * sizeof(T));
  own.written.raise(done);
  each_other([&](int other) { window->counters(other).written.wait(done, meanwhile); });
  std::vector<const T*> inputs;
  for (const auto [from, index] : call.plan.inputs) {
    const auto i = static_cast<std::size_t>(index);
    inputs.push_back(from == rank ? call.parts[i].data()
                                  : reinterpret_cast<const T*>(window->slot(from, round)) + i * n);
  }
  call.plan.sum.template add<T>(inputs, call.out.data(), n);
  own.added.raise(done);
  own.copied.raise(done);
  round = done;
}

// What only its owner wants is not written back: its sum goes where the caller wants it.
// In round k a rank writes the segments of all its nodes for the owners, adds those of round k - 1
// that it owns and copies the sums of round k - 2, so that nobody waits for the others at each
// turn.
template <class T>
void TreeReducer::Impl::through_window(const Call<T>& call) {
  const auto meanwhile = [this] { communicator.progress(); };
  const std::size_t most = call.plan.most_nodes;
  const std::size_t length = window_elements<T>(call.plan);
  const Segments segments = call.segments(size, length);
  const std::size_t rounds = segments.rounds();
  SharedWindow::Counters& own = window->counters(rank);
  const auto input = [&](int from, std::uint32_t at, int owner, std::size_t index) {
    return reinterpret_cast<T*>(window->slot(from, at)) +
           (static_cast<std::size_t>(owner) * most + index) * length;
  };
  const auto sum_of = [&](int owner, std::uint32_t at) { return input(owner, at, size, 0); };
  std::vector<const T*> inputs(call.plan.inputs.size());

  for (std::size_t turn = 0; turn < rounds + 2; ++turn) {
    if (turn < rounds) {
      const std::uint32_t at = round + static_cast<std::uint32_t>(turn);
      each_other([&](int other) {
        window->counters(other).copied.wait(at + 1 - SharedWindow::kSlots, meanwhile);
      });
      each_other([&](int owner) {
        const core::Range range = segments.segment(owner, turn);
        for (std::size_t i = 0; i < call.parts.size(); ++i)
          std::memcpy(input(rank, at, owner, i), call.parts[i].data() + range.begin,
                      range.size() * sizeof(T));
      });
      own.written.raise(at + 1);
    }
    if (turn >= 1 && turn - 1 < rounds) {
      const std::uint32_t at = round + static_cast<std::uint32_t>(turn) - 1;
      each_other([&](int other) { window->counters(other).written.wait(at + 1, meanwhile); });
      const core::Range range = segments.segment(rank, turn - 1);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto [from, index] = call.plan.inputs[i];
        const auto node = static_cast<std::size_t>(index);
        inputs[i] =
            from == rank ? call.parts[node].data() + range.begin : input(from, at, rank, node);
      }
      T* sum = call.place(segments, rank, range);
      call.plan.sum.template add<T>(inputs, sum, range.size());
      if (call.scatters()) {
        own.copied.raise(at + 1);  // nobody reads the sum
        communicator.progress();
      } else {
        std::memcpy(sum_of(rank, at), sum, range.size() * sizeof(T));
      }
      own.added.raise(at + 1);
    }
    if (turn >= 2 && !call.scatters()) {
      const std::uint32_t at = round + static_cast<std::uint32_t>(turn) - 2;
      each_other([&](int owner) {
        window->counters(owner).added.wait(at + 1, meanwhile);
        const core::Range range = segments.segment(owner, turn - 2);
        std::memcpy(call.out.data() + range.begin, sum_of(owner, at), range.size() * sizeof(T));
      });
      own.copied.raise(at + 1);
      communicator.progress();
    }
  }
  round += static_cast<std::uint32_t>(rounds);
}

// The same turns with messages; short vectors in one round, where every rank is owner of the whole.
template <class T>
void TreeReducer::Impl::by_messages(const Call<T>& call) {
  const std::size_t n = call.elements();
  const bool direct = !call.scatters() && n <= kDirectElements && size <= kDirectRanks;
  const Segments segments = call.segments(size, kMessageElements);
  const std::size_t rounds = direct ? 1 : segments.rounds();
  const std::size_t others = call.plan.inputs.size() - call.parts.size();
  const std::size_t length = direct ? n : std::min(segments.longest_slice(), kMessageElements);
  for (auto& buffer : received)
    if (buffer.size() < others * length * sizeof(T)) buffer.resize(others * length * sizeof(T));
  const auto owned = [&](int owner, std::size_t turn) {
    return direct ? core::Range{0, n} : segments.segment(owner, turn);
  };
  std::vector<const T*> inputs(call.plan.inputs.size());
  Pending bring[2], gather[2];

  for (std::size_t turn = 0; turn < rounds + 2; ++turn) {
    if (turn < rounds) {
      std::vector<PeerTransfer> transfers;
      T* receive = reinterpret_cast<T*>(received[turn % 2].data());
      const core::Range mine = owned(rank, turn);
      for (const auto& input : call.plan.inputs) {
        if (input.rank == rank) continue;
        transfers.push_back({input.rank, {}, bytes_of(std::span(receive, mine.size()))});
        receive += length;
      }
      each_other([&](int owner) {
        const core::Range range = owned(owner, turn);
        for (const auto part : call.parts)
          transfers.push_back({owner, bytes_of(part.subspan(range.begin, range.size())), {}});
      });
      bring[turn % 2] = communicator.exchange(std::move(transfers));
    }
    if (turn >= 1 && turn - 1 < rounds) {
      bring[(turn - 1) % 2].wait();
      const core::Range mine = owned(rank, turn - 1);
      const T* other = reinterpret_cast<const T*>(received[(turn - 1) % 2].data());
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const auto [from, index] = call.plan.inputs[i];
        if (from == rank) {
          inputs[i] = call.parts[static_cast<std::size_t>(index)].data() + mine.begin;
        } else {
          inputs[i] = other;
          other += length;
        }
      }
      const std::span<T> sum(call.place(segments, rank, mine), mine.size());
      call.plan.sum.template add<T>(inputs, sum.data(), sum.size());
      if (direct) return;
      if (call.scatters()) continue;
      std::vector<PeerTransfer> transfers;
      each_other([&](int peer) {
        const core::Range theirs = owned(peer, turn - 1);
        transfers.push_back(
            {peer, bytes_of(sum), bytes_of(call.out.subspan(theirs.begin, theirs.size()))});
      });
      gather[(turn - 1) % 2] = communicator.exchange(std::move(transfers));
    }
    if (turn >= 2 && !call.scatters()) gather[(turn - 2) % 2].wait();
  }
}

}  // namespace retort::comm
