// Generations of a run folder: RUN/checkpoints/gen-SSSSSSSSSS-eEEEE/, written whole, never
// rewritten. Fences: RUN/claims/epoch-EEEE names the generation that start resumed from; loading
// follows that chain, so a late commit of an older start is never picked. Format:
// docs/checkpoint_format.md.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "comm/communicator.h"
#include "io/tensor_file.h"
#include "io/tensor_files.h"

namespace retort::io {

struct Checkpoint {
  std::uint64_t step = 0;
  nlohmann::json state;  // position, random state, sums, early stop, recipe hash: exact values only
  TensorMap tensors;
};

/// A generation whose tensors stay on disk.
struct StoredCheckpoint {
  std::uint64_t step = 0;
  nlohmann::json state;
  TensorFiles tensors;
};

/// What a commit leaves of the generations of its chain; the others are removed.
struct Retention {
  int newest = 2;                               // at least 2
  std::optional<std::uint64_t> best_step = {};  // the newest of this step stays, too
};

struct CommitCosts {
  std::uint64_t generations = 0;  // committed
  std::uint64_t bytes = 0;        // of this rank's files in them
  double behind_seconds = 0;      // that the thread worked for begin()
};

/// One start on a run folder. Move-only. Collective over the communicator unless said otherwise; an
/// error on one rank comes out on all. Holds the communicator by reference. Fault points: claim,
/// checkpoint-part, checkpoint-manifest, checkpoint-prune, and those of AtomicFile.
class RunFolder {
 public:
  enum class TakeOver { no, yes };
  /// Creates the folder if need be. Refuses (UsageError) a live one: another process on this host
  /// holds its lock, or its heartbeat from another host is fresh; TakeOver::yes overrides. Claims
  /// the next epoch. UsageError if a generation was made with another recipe (names both hashes),
  /// DataError if generations exist and none verifies. A start that died on another host is waited
  /// out (15 s).
  static RunFolder open(comm::Communicator& communicator, const std::filesystem::path& path,
                        const std::string& recipe_hash, TakeOver take_over);
  ~RunFolder();
  RunFolder(RunFolder&&) noexcept;

  const std::filesystem::path& path() const;
  /// Number of this start on the folder, from 1.
  std::uint32_t epoch() const;
  /// For rank 0, before it writes what lies beside the generations under names that every start
  /// uses. Not collective. UsageError if a later start has taken the folder over.
  void require_newest() const;
  /// The same around such a write: one that a later start has made impossible, since it clears away
  /// what others left unfinished, fails because of that start and says so.
  void write_as_newest(const std::function<void()>& write) const;
  /// The newest generation on the chain that verifies, if any; all ranks get the whole of it, or
  /// of its tensors the rows of their `selection`. Bad ones were set aside (renamed *.bad) with a
  /// warning. Each call reads anew.
  std::optional<Checkpoint> load(const RowSelection& selection = {}) const;
  /// Writes a generation: every rank gives its ranges (any cut, no overlaps between ranks), rank
  /// 0's `state` counts. Returns when it is committed on all ranks; one that begin() left under way
  /// is finished first. Steps rise from commit to commit; the last one again, with an equal state,
  /// is no work. IoError if a rank cannot write: the generations before are intact. UsageError if a
  /// later start has taken the folder over. InternalError for ranges that do not cover their
  /// tensors once.
  void commit(std::uint64_t step, const nlohmann::json& state, std::span<const TensorRange> ranges,
              Retention retention = {});

  /// Collective. Reads the generation that load() gave or commit() wrote last, and no other, back
  /// from disk: on rank 0 with its tensors, verified; elsewhere without. Nothing, on all ranks: it
  /// is damaged, gone or another's, was set aside with a warning, and a commit() of the same step
  /// writes it once more.
  std::optional<StoredCheckpoint> reopen();

  /// commit() behind the caller's work: begin() copies the ranges (into memory that is kept for the
  /// next one) and returns; one thread writes. InternalError while pending(). Then, until pending()
  /// is false: once settled() holds on every rank, advance() on all. Nothing counts as committed,
  /// and no error comes out, before that. Left pending in the destructor, it is given up.
  void begin(std::uint64_t step, const nlohmann::json& state, std::span<const TensorRange> ranges,
             Retention retention = {});
  /// True from begin() until the commit is over; the same on all ranks. Not collective.
  bool pending() const;
  /// True if advance() would not wait for this rank's thread. Not collective.
  bool settled() const;
  /// One stage on: from the parts of all ranks to the manifest, which rank 0 writes behind the
  /// caller, too; then to the end. Waits for what is being written. Throws like commit().
  void advance();
  /// Advances to the end; nothing if there is nothing pending.
  void finish();
  /// Of this rank, since open(). Not collective.
  const CommitCosts& costs() const;

 private:
  struct State;
  explicit RunFolder(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// The newest verified generation of a run folder, read by one process without claiming (inspect);
/// changes nothing. DataError if generations exist and none verifies.
std::optional<StoredCheckpoint> open_newest(const std::filesystem::path& run_folder);
/// One generation by its folder, verified. DataError.
StoredCheckpoint open_generation(const std::filesystem::path& folder);
/// SHA-256 over step, state and tensors, whatever the layout.
std::string digest(const Checkpoint& checkpoint);
std::string digest(const StoredCheckpoint& checkpoint);

}  // namespace retort::io
