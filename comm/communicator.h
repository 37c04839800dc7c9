// Communicator: the one place where ranks talk. One rank alone needs no MPI at all.
//
// Threads: one communication thread per process makes every MPI call (OpenMPI 4.1 makes no progress
// by itself). All members may be called from any thread; collectives must be started in the same
// order on all ranks. A blocking call waits for its turn on that thread without spinning.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace retort::comm {

/// Handle of a started operation. wait() blocks until it is complete and rethrows its error.
/// Dropping it without wait() waits, too. Move-only.
class Pending {
 public:
  Pending();
  ~Pending();
  Pending(Pending&&) noexcept;
  Pending& operator=(Pending&&) noexcept;
  void wait();
  bool done() const;
  struct State;
  explicit Pending(std::shared_ptr<State> state);

 private:
  std::shared_ptr<State> state_;
};

/// A peer of an exchange: what goes to and comes from one rank. Spans may be empty, sizes must
/// match on both sides.
struct PeerTransfer {
  int rank = 0;
  std::span<const std::byte> send;
  std::span<std::byte> receive;
};

/// Move-only handle. rank() in [0, size()).
class Communicator {
 public:
  /// One rank, no MPI.
  static Communicator single();
  /// The ranks of this job: MPI_Init_thread on the communication thread; single() when the process
  /// was not started with ranks (see started_with_ranks). Finalises in the destructor, once all
  /// ranks are there; when an exception unwinds past it and the others do not follow within
  /// seconds, it ends the job with exit code 70 (catch and abort() before that). Once per process:
  /// InternalError the second time. If MPI has not started on all ranks within `start_limit` (0:
  /// for ever), this process says so and ends with exit code 70.
  static Communicator world(std::chrono::milliseconds start_limit = std::chrono::milliseconds(0));
  ~Communicator();
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;

  int rank() const;
  int size() const;
  bool root() const { return rank() == 0; }

  void barrier();
  /// Fixed-size broadcast from rank 0, in place.
  void broadcast(std::span<std::byte> bytes);
  /// Broadcast of a string of any length from rank 0.
  std::string broadcast(const std::string& text);
  /// Every rank's text, by rank, on every rank.
  std::vector<std::string> all_gather(const std::string& text);
  std::vector<std::uint64_t> all_gather(std::uint64_t value);
  std::uint64_t all_reduce_sum(std::uint64_t value);
  std::uint64_t all_reduce_max(std::uint64_t value);
  std::uint64_t all_reduce_min(std::uint64_t value);
  /// In place, element by element; equal sizes on all ranks.
  void all_reduce_max(std::span<std::uint64_t> values);
  /// True on all ranks if it is true on one.
  bool any(bool value);

  /// Starts sends and receives with several ranks (also itself: a copy) and completes when all are
  /// through. Buffers stay untouched by the caller until then. Several transfers with one rank are
  /// matched in their order. Within run() several exchanges can be under way at once: each moves on
  /// while the thread is in any call of this class.
  Pending exchange(std::vector<PeerTransfer> transfers);
  /// Runs `work` on the communication thread after what was started before. It may use the calls
  /// of this class, which then run in place. For multi-step exchanges that overlap computation.
  Pending run(std::function<void()> work);
  /// For work within run() that waits for something else than messages: lets messages, claims and
  /// an abort of this process move on. Does not block.
  void progress();

  /// The next number of the shared counter `name` (0, 1, 2, ...), each given to exactly one caller
  /// over all ranks. Not a collective: any rank at any time, answered by rank 0's communication
  /// thread. Names hold for the life of the job: use a name once per purpose and section. `count`
  /// takes so many numbers at once, from the returned one on.
  std::uint64_t claim(const std::string& name, std::uint64_t count = 1);

  /// Collective, once. From now on a rank that dies, says nothing for `limit`, or keeps the others
  /// waiting in a collective for so long is named, with host, collective and place, and the job
  /// ends with exit code 70 (docs/communication.md). 0: nobody watches.
  void watch(std::chrono::milliseconds limit);
  /// Where this rank is, for those messages: ("step", 41). Any thread, costs two stores; `unit` is
  /// a literal.
  void at(const char* unit, std::uint64_t place);

  /// Ends the job on all ranks with this exit code; does not return.
  [[noreturn]] void abort(int exit_code);

  struct Backend;

 private:
  explicit Communicator(std::unique_ptr<Backend> backend);
  std::unique_ptr<Backend> backend_;
};

/// True if the environment says that a launcher started this process as one of several ranks or as
/// a PMIx client (mpirun, srun --mpi=pmix).
bool started_with_ranks();

}  // namespace retort::comm
