// Words of the command line into options, by Boost.Program_options.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "core/options.h"
#include "stages/stage.h"

namespace retort::launch {

struct CommandWords {
  std::string command;             // "" if there is none
  std::vector<std::string> words;  // what stood before and after it
};
/// Finds the command: the first word that is neither an option nor the value of one of
/// `leading` (so that `retort -n 2 train` works).
CommandWords split_command(const std::vector<std::string>& words, const core::OptionTable& leading);

enum class UnknownOptions { refuse, skip };

/// The options in `words`, in order, origin "command line". Words without a dash go to the
/// positional options of the tables in turn; with `skip` they and unknown options are left out.
/// UsageError: unknown option (nearest named), missing value, an option given twice, a word too
/// many.
std::vector<stages::GivenOption> parse_command_line(
    const std::vector<std::string>& words, std::span<const core::OptionTable* const> tables,
    UnknownOptions unknown);

}  // namespace retort::launch
