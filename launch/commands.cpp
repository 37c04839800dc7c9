#include "launch/commands.h"

#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "launch/docs_command.h"
#include "launch/doctor.h"
#include "launch/ping.h"
#include "pipeline/registry.h"

namespace retort::launch {

std::vector<Command> all_commands() {
  using stages::Ranks;
  std::vector<Command> commands;
  for (const auto& entry : stages::stage_registry()) commands.push_back({entry, Shown::yes});
  for (const auto& entry : pipeline::pipeline_registry()) commands.push_back({entry, Shown::yes});
  commands.push_back({{"doctor", "say whether this machine is fit", Ranks::one, make_doctor}});
  commands.push_back(
      {{"ping", "measure the exchange between ranks", Ranks::many, make_ping}, Shown::no});
  commands.push_back({{"docs", "write a page per command", Ranks::one, make_docs}, Shown::no});
  return commands;
}

Command find_command(std::string_view name) {
  std::vector<std::string> known;
  for (const auto& command : all_commands()) {
    if (command.entry.name == name) return command;
    if (command.shown == Shown::yes) known.emplace_back(command.entry.name);
  }
  const std::string near = core::nearest_word(name, known);
  if (!near.empty())
    throw core::UsageError(fmt::format("unknown command '{}'; did you mean '{}'?", name, near));
  throw core::UsageError(
      fmt::format("unknown command '{}'; retort --help lists the commands", name));
}

DeclaredCommand declare_with_defaults(const stages::StageEntry& entry) {
  DeclaredCommand declared{entry.make(), {}};
  declared.stage->declare(declared.table);
  declared.stage->declare_dependent(declared.table);
  return declared;
}

std::vector<std::string> all_option_names() {
  std::set<std::string> names;
  for (const auto& command : all_commands()) {
    const DeclaredCommand declared = declare_with_defaults(command.entry);
    for (const auto& option : declared.table.options()) names.insert(option.name);
  }
  return {names.begin(), names.end()};
}

}  // namespace retort::launch
