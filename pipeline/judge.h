// Judges the sections of a job: what is up to date, what has to run and why; clears the way for
// those that run. Rank 0 alone does this.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/content_digest.h"
#include "pipeline/job.h"
#include "pipeline/section_state.h"

namespace retort::pipeline {

/// "up to date", "run", "resume", ...
std::string_view standing_text(Standing standing);

/// kept: a start keeps the hashes of source files for the next. read: others run beside this one
/// and would write the same file.
enum class DigestCache { kept, read };

class Judge {
 public:
  explicit Judge(const Job& job, DigestCache cache = DigestCache::kept);

  /// Without touching anything. `runs`: flags of the instances that will have run before; one that
  /// needs them and holds something is waiting.
  Assessment forecast(std::size_t instance, const std::vector<char>& runs);
  /// Before a section starts: what it needs is complete. Sets a foreign output aside and records
  /// the start, or, when the section is up to date, that it is complete. DataError if it was
  /// restarted without progress too often.
  Assessment prepare(std::size_t instance, AfterRestarts after);
  /// After a section that started found that what is there is not of its recipe: sets it aside and
  /// starts anew. Where the old output is.
  std::string replace(std::size_t instance);
  /// After a section returned. UsageError if it left no manifest.
  void finished(std::size_t instance, double seconds);
  /// After a section checkpointed on request.
  void stopped(std::size_t instance);
  /// After a section threw: keeps what it said, if it was started at all. An error of that is
  /// dropped for the first one's sake.
  void failed(std::size_t instance, const core::Error& error);
  /// What a complete section reported.
  Results results(std::size_t instance) const;
  /// Folders of sections that ran without seeds and now run per seed are set aside. Returns a line
  /// for each.
  std::vector<std::string> clear_ways();

  /// Keeps the hashes of the source files that were looked at so far.
  void keep_digests() { digests_.save(); }

  const SectionStates& states() const { return states_; }

 private:
  Recipe recipe(std::size_t instance);
  void begin(std::size_t instance, const Recipe& recipe, AfterRestarts after);

  const Job& job_;
  DigestCache cache_;
  ContentDigests digests_;
  SectionStates states_;
  std::optional<std::size_t> started_;  // the instance that runs
  Recipe recipe_;                       // what it is started with
  std::uint64_t start_ = 0;             // and the number of its start
};

}  // namespace retort::pipeline
