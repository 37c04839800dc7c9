#include "launch/help_text.h"

#include <algorithm>

#include <fmt/format.h>

#include "comm/mpi_version.h"
#include "core/version.h"
#include "io/hdf5_version.h"
#include "nn/torch_version.h"

namespace retort::launch {
namespace {

constexpr std::size_t kWidth = 100;
constexpr std::size_t kIndent = 30;

std::string usage(const stages::StageEntry& entry, const core::OptionTable& table) {
  std::string text = fmt::format("retort {}", entry.name);
  for (const auto& option : table.options())
    if (option.positional) text += fmt::format(" {}", option.value_name);
  return text + " [options]";
}

// "default 0.1", "required", "one of a, b; default a"
std::string notes(const core::Option& option) {
  std::vector<std::string> parts;
  if (!option.choices.empty()) parts.push_back(fmt::format("{}", fmt::join(option.choices, ", ")));
  if (option.required) parts.emplace_back("required");
  if (option.repeated) parts.emplace_back("may be repeated");
  if (!option.chooser.empty())
    parts.push_back(
        fmt::format("only with --{} {}", option.chooser, fmt::join(option.chosen, ", ")));
  if (!option.required && !option.is_switch && !option.default_text.empty())
    parts.push_back("default " + option.default_text);
  if (option.is_switch && option.default_text == "true") parts.emplace_back("default true");
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string heading(const core::Option& option) {
  std::string text = option.short_name != 0 ? fmt::format("-{}, ", option.short_name) : "";
  text += "--" + option.name;
  if (option.is_switch && option.default_text == "true") text += "=false";
  if (!option.value_name.empty()) text += " " + option.value_name;
  return text;
}

void wrap(std::string& text, std::size_t column, std::string_view words) {
  while (!words.empty()) {
    const auto space = std::min(words.find(' '), words.size());
    if (column + space > kWidth && column > kIndent) {
      text.erase(text.find_last_not_of(' ') + 1);
      text += "\n" + std::string(kIndent, ' ');
      column = kIndent;
    }
    text += words.substr(0, space);
    column += space;
    words.remove_prefix(space);
    if (words.starts_with(' ')) {
      words.remove_prefix(1);
      if (column < kWidth) {
        text += ' ';
        ++column;
      }
    }
  }
}

std::string entry_text(const core::Option& option) {
  std::string text = "  " + heading(option);
  if (text.size() + 2 > kIndent)
    text += "\n" + std::string(kIndent, ' ');
  else
    text.resize(kIndent, ' ');
  std::string words = option.help;
  if (const std::string note = notes(option); !note.empty()) words += " (" + note + ")";
  wrap(text, kIndent, words);
  text.erase(text.find_last_not_of(' ') + 1);
  return text + "\n";
}

// Groups in the order in which they first occur.
template <class PerGroup>
void for_groups(std::span<const core::OptionTable* const> tables, PerGroup per_group) {
  std::vector<std::pair<std::string, std::vector<const core::Option*>>> groups;
  for (const auto* table : tables) {
    for (const auto& option : table->options()) {
      auto at = std::find_if(groups.begin(), groups.end(),
                             [&](const auto& group) { return group.first == option.group; });
      if (at == groups.end()) at = groups.insert(groups.end(), {option.group, {}});
      at->second.push_back(&option);
    }
  }
  for (const auto& [title, options] : groups) per_group(title, options);
}

std::string cell(std::string_view text) {
  std::string escaped;
  for (const char c : text) escaped += c == '|' ? std::string("\\|") : std::string(1, c);
  return escaped;
}

}  // namespace

std::string program_help() {
  std::string text =
      "retort turns a large, accurate classifier into a small one, on a cluster.\n\n"
      "Usage: retort COMMAND [options]\n"
      "       retort -n N COMMAND [options]         start N ranks on this machine\n"
      "       mpirun -n N retort COMMAND [options]  or srun --mpi=pmix retort COMMAND [options]\n\n"
      "Commands:\n";
  for (const auto& command : all_commands())
    if (command.shown == Shown::yes)
      text += fmt::format("  {:<12}{}\n", command.entry.name, command.entry.summary);
  return text +
         "\nretort COMMAND --help explains a command, retort --version names the parts.\n"
         "Exit codes: 0 done, 64 wrong usage, 65 bad data, 70 internal error, 74 I/O error,\n"
         "75 checkpointed on request: run again.\n";
}

std::string version_text() {
  return fmt::format("retort {} (LibTorch {}, {}, HDF5 {})\n", core::kVersion, nn::torch_version(),
                     comm::mpi_version(), io::hdf5_version());
}

std::string command_help(const stages::StageEntry& entry,
                         std::span<const core::OptionTable* const> tables) {
  std::string text = fmt::format("retort {}: {}\n\nUsage: {}\n", entry.name, entry.summary,
                                 usage(entry, *tables.front()));
  for_groups(tables, [&](const std::string& title, const auto& options) {
    text += fmt::format("\n{}:\n", title);
    for (const auto* option : options) text += entry_text(*option);
  });
  return text;
}

std::string command_page(const stages::StageEntry& entry, const core::OptionTable& table) {
  std::string text = fmt::format(
      "<!-- Written by `retort docs`; change the option tables, not this page. -->\n"
      "# retort {}\n\nUse it to {}.\n\n```\n{}\n```\n",
      entry.name, entry.summary, usage(entry, table));
  text += entry.ranks == stages::Ranks::many
              ? "Runs on any number of ranks, with the same result.\n"
              : "Runs in one process.\n";
  const core::OptionTable* const tables[] = {&table};
  for_groups(tables, [&](const std::string& title, const auto& options) {
    text += fmt::format("\n## {}\n\n| option | meaning | |\n|---|---|---|\n", title);
    for (const auto* option : options)
      text += fmt::format("| `{}` | {} | {} |\n", heading(*option), cell(option->help),
                          cell(notes(*option)));
  });
  return text + "\nOptions of every command: [the command line](../cli.md).\n";
}

}  // namespace retort::launch
