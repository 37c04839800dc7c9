// Every command of the program: the stages, the commands of the pipeline, and launch's own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "stages/stage.h"

namespace retort::launch {

enum class Shown { yes, no };  // no: left out of --help and docs (ping, docs)

struct Command {
  stages::StageEntry entry;
  Shown shown = Shown::yes;
};

/// In the order that --help shows.
std::vector<Command> all_commands();
/// UsageError naming the nearest command if there is none of this name.
Command find_command(std::string_view name);

/// A command with all its options declared at their defaults.
struct DeclaredCommand {
  std::unique_ptr<stages::Stage> stage;
  core::OptionTable table;  // bound to *stage
};
DeclaredCommand declare_with_defaults(const stages::StageEntry& entry);

/// The names of all options of all commands, for judging environment variables.
std::vector<std::string> all_option_names();

}  // namespace retort::launch
