// A command with all its options set, from all sources.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "launch/commands.h"
#include "launch/common_options.h"
#include "stages/stage.h"

namespace retort::launch {

/// The tables are bound to the other members.
struct Invocation {
  Command command;
  CommonOptions common;
  StartOptions start;
  std::unique_ptr<stages::Stage> stage;
  core::OptionTable common_table;
  core::OptionTable start_table;
  core::OptionTable table;  // the stage's own
  std::vector<std::string> ignored_environment;

  Invocation() = default;
  Invocation(const Invocation&) = delete;
  Invocation& operator=(const Invocation&) = delete;

  /// The effective options as an INI file that --config reads back.
  std::string dump() const;
};

/// `words`: the command line without the command; `environment`: entries "NAME=value". Sets all
/// options, without require() and validate(). UsageError, IoError (the --config file).
std::unique_ptr<Invocation> make_invocation(Command command, const std::vector<std::string>& words,
                                            const std::vector<std::string>& environment);

}  // namespace retort::launch
