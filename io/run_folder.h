// Inside of RunFolder, for io/checkpoint.cpp (open, load) and io/checkpoint_commit.cpp. Nobody else
// includes this.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "io/background_thread.h"
#include "io/checkpoint.h"
#include "io/generation.h"
#include "io/live_claim.h"
#include "io/manifest.h"
#include "io/run_fence.h"

namespace retort::io {

inline constexpr std::string_view kCheckpointKind = "checkpoint";
inline constexpr std::uint32_t kCheckpointVersion = 1;

struct RunFolder::State {
  enum class Source { copied, in_place };  // where the thread finds the ranges
  /// A generation on its way; the same on all ranks, apart from what the ranks write.
  struct Pending {
    enum class Stage { parts, manifest };  // what is being written
    Stage stage = Stage::parts;
    GenerationId id;
    Source source = Source::in_place;
    nlohmann::json state;    // rank 0's counts
    std::string state_text;  // rank 0
    Retention retention;
    nlohmann::json coverage;  // this rank's ranges
    std::vector<Member> members;
    FileSeal manifest{};  // rank 0, once it is written
    double seconds = 0;   // that this rank's thread worked for it
  };
  /// The generation that the caller's state is in: loaded, or committed since.
  struct Held {
    GenerationId id;
    FileSeal manifest{};  // rank 0
  };
  enum class Depth { manifest, members };

  comm::Communicator& communicator;
  std::filesystem::path path;
  std::string recipe_hash;
  std::unique_ptr<RunFence> fence{};  // rank 0
  std::uint32_t epoch = 0;
  std::optional<LiveClaim> live{};
  std::optional<std::uint64_t> last_step{};  // committed by this start
  std::string last_state{};
  std::optional<Held> held{};
  std::optional<Pending> pending{};
  CommitCosts costs{};
  std::unique_ptr<std::byte[]> copy{};  // kept from commit to commit
  std::size_t copy_bytes = 0;
  BackgroundThread background{};  // the last member: it uses the others, so it ends first

  std::filesystem::path folder_of(GenerationId id) const {
    return generations_folder(path) / name_of(id);
  }
  // Rank 0: the newest generation of the chain whose manifest can be read and, if asked for, whose
  // members verify. Others are set aside. DataError if there is none but there were some.
  std::optional<GenerationId> newest(Depth depth) const;
  // What killed commits and removals left behind; never a generation.
  void clean() const;

  // Collective; begins a commit, or does nothing if this step is committed already.
  void start(std::uint64_t step, const nlohmann::json& state, std::span<const TensorRange> ranges,
             Retention retention, Source source);
  std::vector<TensorRange> copied(std::span<const TensorRange> ranges);
  void write_parts(std::span<const TensorRange> ranges,
                   const BackgroundThread::Cancelled& cancelled);
  // Collective; both wait for what is being written.
  void finish_parts();
  void finish_manifest();
  // Not collective. What a later start has made impossible, since it clears away what others left
  // unfinished, fails because of that start and says so.
  void as_newest(const std::function<void()>& work) const;
  FileSeal commit_manifest(const std::vector<std::string>& reports) const;
  void prune(Retention retention) const;
};

}  // namespace retort::io
