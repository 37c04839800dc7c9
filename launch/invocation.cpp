#include "launch/invocation.h"

#include <array>
#include <map>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "launch/command_line.h"
#include "launch/option_sources.h"

namespace retort::launch {
namespace {

using stages::GivenOption;

std::vector<GivenOption> file_options(const std::filesystem::path& path, std::string_view command) {
  if (path.empty()) return {};
  std::vector<std::byte> bytes;
  try {
    bytes = io::read_file(path);
  } catch (const core::IoError& error) {
    throw core::UsageError(fmt::format("--config: {}", error.what()));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<std::string> commands;
  for (const auto& known : all_commands()) commands.emplace_back(known.entry.name);
  return ini_options(text, path.string(), command, commands);
}

// A value given twice in one source: the command line refuses it itself, the environment cannot.
void refuse_doubles(const std::vector<GivenOption>& given,
                    std::span<const core::OptionTable* const> tables) {
  std::map<std::string, const GivenOption*> first;
  for (const auto& option : given) {
    const auto [at, fresh] = first.emplace(option.name, &option);
    if (fresh) continue;
    for (const auto* table : tables)
      if (const auto* known = table->find(option.name); known != nullptr && known->repeated)
        at->second = &option;
    if (at->second != &option)
      throw core::UsageError(fmt::format("{}: option '{}' was already set at {}", option.origin,
                                         option.name, at->second->origin));
  }
}

std::vector<GivenOption> known_in(const core::OptionTable& table,
                                  const std::vector<GivenOption>& given) {
  std::vector<GivenOption> known;
  for (const auto& option : given)
    if (table.find(option.name) != nullptr) known.push_back(option);
  return known;
}

std::vector<GivenOption> unknown_in(const core::OptionTable& table,
                                    const std::vector<GivenOption>& given) {
  std::vector<GivenOption> unknown;
  for (const auto& option : given)
    if (table.find(option.name) == nullptr) unknown.push_back(option);
  return unknown;
}

void set_all(core::OptionTable& table, const std::vector<GivenOption>& given) {
  for (const auto& option : given) {
    try {
      table.set(option.name, option.value);
    } catch (const core::UsageError& error) {
      throw core::UsageError(fmt::format("{}: {}", option.origin, error.what()));
    }
  }
}

}  // namespace

std::string Invocation::dump() const {
  return fmt::format("[{}]\n{}{}", command.entry.name, common_table.ini(), table.ini());
}

std::unique_ptr<Invocation> make_invocation(Command command, const std::vector<std::string>& words,
                                            const std::vector<std::string>& environment) {
  auto made = std::make_unique<Invocation>();
  made->command = command;
  made->common.declare(made->common_table);
  made->start.declare(made->start_table);
  made->stage = command.entry.make();

  // First look, with a stage of its own: which options are there at all? Those of the chosen model
  // are known only after the choice was read.
  const auto probe = command.entry.make();
  core::OptionTable probed;
  probe->declare(probed);
  const std::array<const core::OptionTable*, 3> tables = {&probed, &made->common_table,
                                                          &made->start_table};
  auto from_words = parse_command_line(words, tables, UnknownOptions::skip);
  set_all(made->start_table, known_in(made->start_table, from_words));
  const auto from_file = file_options(made->start.config, command.entry.name);
  const auto all_names = all_option_names();
  const auto settable = [&](std::span<const core::OptionTable* const> known) {
    return environment_options(environment, known, all_names);
  };
  const std::array<const core::OptionTable*, 2> first_known = {&probed, &made->common_table};
  {
    // A model's own variables may still be unknown here: look at the declared ones only.
    std::vector<std::string> declared;
    for (const auto& entry : environment)
      for (const auto* table : first_known)
        for (const auto& option : table->options())
          if (entry.starts_with(environment_name(option.name) + "=")) declared.push_back(entry);
    const std::array first = {
        known_in(probed, from_file),
        environment_options(declared, first_known, all_names).given,
        known_in(probed, from_words),
    };
    set_all(probed, known_in(probed, merge_sources(first)));
  }
  probe->declare_dependent(probed);

  // Second look, with all options known.
  from_words = parse_command_line(words, tables, UnknownOptions::refuse);
  EnvironmentOptions from_environment = settable(first_known);
  made->ignored_environment = std::move(from_environment.ignored);
  const std::array sources = {from_file, std::move(from_environment.given),
                              unknown_in(made->start_table, from_words)};
  const auto given = merge_sources(sources);
  refuse_doubles(given, tables);
  set_all(made->common_table, known_in(made->common_table, given));
  std::vector<std::string> common_names;
  for (const auto& option : made->common_table.options()) common_names.push_back(option.name);
  made->table.also_suggest(std::move(common_names));
  const auto own = unknown_in(made->common_table, given);
  stages::set_options(*made->stage, made->table, own);
  return made;
}

}  // namespace retort::launch
