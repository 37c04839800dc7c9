// --help and the pages of docs/commands, from the option tables.
#pragma once

#include <string>

#include "launch/commands.h"

namespace retort::launch {

/// `retort --help`.
std::string program_help();
std::string version_text();
/// `retort COMMAND --help`; `tables`: the stage's own, then the common ones. Lines of at most 100
/// columns.
std::string command_help(const stages::StageEntry& entry,
                         std::span<const core::OptionTable* const> tables);
/// The same as a Markdown page, with every option's environment variable left to docs/cli.md.
std::string command_page(const stages::StageEntry& entry, const core::OptionTable& table);

}  // namespace retort::launch
