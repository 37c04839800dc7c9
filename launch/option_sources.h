// Options from the environment and from INI files, and who beats whom.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/options.h"
#include "stages/stage.h"

namespace retort::launch {

/// "learning-rate" <-> "RETORT_LEARNING_RATE".
std::string environment_name(std::string_view option);

struct EnvironmentOptions {
  std::vector<stages::GivenOption> given;  // origin: the variable's name
  std::vector<std::string> ignored;        // variables that are options of other commands
};
/// `entries`: "NAME=value" as in environ. Variables that begin with RETORT_ and are not reserved
/// must be an option of `tables` or one of `all_names` (options of other commands): else UsageError
/// naming the nearest.
EnvironmentOptions environment_options(std::span<const std::string> entries,
                                       std::span<const core::OptionTable* const> tables,
                                       std::span<const std::string> all_names);
/// Variables that are no options: what tests, data, fault points and local ranks use.
bool reserved_variable(std::string_view name);

/// The settings before any section and those of [command], with origins "FILE:line". Sections of
/// other commands are passed over. UsageError: syntax, a section that is no command, a key twice in
/// one section.
std::vector<stages::GivenOption> ini_options(std::string_view text, const std::string& file,
                                             std::string_view command,
                                             const std::vector<std::string>& commands);

/// One list out of sources in order of rising precedence: an option's values come from the last
/// source that names it.
std::vector<stages::GivenOption> merge_sources(
    std::span<const std::vector<stages::GivenOption>> sources);

}  // namespace retort::launch
