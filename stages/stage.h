// A stage: one command that computes something, data-parallel. One file pair, one registry line,
// one page in docs/. No torch in this header.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "core/options.h"

namespace retort::stages {

struct StageContext {
  comm::Communicator& communicator;
  int threads = 1;    // workers of this rank (micro-shards computed side by side)
  bool json = false;  // the result as one JSON line on standard output (rank 0)
  bool take_over = false;
  bool in_plan =
      false;  // a plan runs this stage and reports results.json: nothing on standard output
  bool threads_given = false;  // --threads was said: it beats a plan's own setting
  int ranks_wanted = 0;        // -n as said, for commands that have others start ranks; 0: not said
  /// Who runs and with what, set by whoever starts the stage from the stage's own OptionTable.
  std::string stage;          // "train"
  std::string recipe;         // OptionTable::recipe()
  std::string configuration;  // OptionTable::ini(): kept in the run folder as config.ini
};

enum class StageOutcome { done, stopped };  // stopped: checkpointed on request, exit code 75

class Stage {
 public:
  virtual ~Stage() = default;
  /// Binds the fields of this object.
  virtual void declare(core::OptionTable& table) = 0;
  /// Called once after the options of declare() that were given have been set: declares those that
  /// depend on them (the options of the chosen model). Called with defaults only
  /// (help, docs) it must not throw.
  virtual void declare_dependent(core::OptionTable&) {}
  /// Options against each other, before anything starts: UsageError. No I/O beyond what exists.
  virtual void validate() const {}
  /// Options against inputs that are there already, before anything is computed: UsageError. A plan
  /// asks a section as soon as what it needs is there; inputs that are missing say nothing here.
  virtual void check_inputs() const {}
  /// UsageError if so many ranks can't work on it. A plan asks before it begins.
  virtual void check_ranks(int) const {}
  /// Files that decide the result though no option names them; plans look at them as at inputs, by
  /// `name`.
  struct FoundInput {
    std::string name;  // "fonts"
    std::vector<std::filesystem::path> files;
  };
  virtual std::vector<FoundInput> found_inputs() const { return {}; }
  /// Collective. All ranks have equal options (launch and pipeline check it).
  virtual StageOutcome run(StageContext& context) = 0;
  /// The digest `inspect --digest` shows for a finished output folder is the manifest's content
  /// digest; a stage's output folder holds manifest.json when, and only when, it is complete.
};

/// How a command wants to be started.
enum class Ranks { many, one };

struct StageEntry {
  std::string_view name;
  std::string_view summary;  // one line, no full stop
  Ranks ranks = Ranks::many;
  std::unique_ptr<Stage> (*make)();
};
/// One option as a user gave it.
struct GivenOption {
  std::string name;
  std::string value;
  std::string origin;  // "command line", "plan.ini:12": goes into messages
};
/// declare(), set what is known, declare_dependent(), set the rest. Unknown names, bad values and
/// options of a choice that was not made: UsageError that names the origin. Later options override
/// earlier ones.
void set_options(Stage& stage, core::OptionTable& table, std::span<const GivenOption> given);
/// set_options(), then require() and validate().
void apply_options(Stage& stage, core::OptionTable& table, std::span<const GivenOption> given);

/// False if a path, or one of a list of them, names nothing. A path that cannot be looked at may be
/// there.
bool is_there(const std::string& path);
/// UsageError for the first input option that was given and names nothing that is there. Words
/// without an option's name are their command's to judge.
void require_inputs(const core::OptionTable& table);

std::span<const StageEntry> stage_registry();
const StageEntry* find_stage(std::string_view name);

}  // namespace retort::stages
