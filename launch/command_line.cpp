#include "launch/command_line.h"

#include <set>

#include <boost/program_options.hpp>
#include <fmt/format.h>

#include "core/error.h"

namespace retort::launch {
namespace {

namespace po = boost::program_options;

po::options_description bind(std::span<const core::OptionTable* const> tables) {
  po::options_description description;
  for (const auto* table : tables) {
    for (const auto& option : table->options()) {
      std::string names = option.name;
      if (option.short_name != 0) names += fmt::format(",{}", option.short_name);
      auto* value = po::value<std::string>();
      if (option.is_switch) value->implicit_value("true");
      description.add_options()(names.c_str(), value, "");
    }
  }
  return description;
}

const core::Option* find(std::span<const core::OptionTable* const> tables, std::string_view name) {
  for (const auto* table : tables)
    if (const auto* option = table->find(name)) return option;
  return nullptr;
}

std::string without_dashes(const std::string& name) {
  return name.substr(std::min(name.find_first_not_of('-'), name.size()));
}

[[noreturn]] void refuse_unknown(std::span<const core::OptionTable* const> tables,
                                 const std::string& word) {
  const std::string name = word.substr(0, word.find('='));
  std::vector<std::string> known;
  for (const auto* table : tables)
    for (const auto& option : table->options()) known.push_back(option.name);
  const std::string near = core::nearest_word(without_dashes(name), known);
  throw core::UsageError(near.empty()
                             ? fmt::format("unknown option {}; --help lists the options", name)
                             : fmt::format("unknown option {}; did you mean --{}?", name, near));
}

// Boost refuses "--name=", which says that the value is empty; "--name" "" says the same. And it
// would take the word after a switch as its value ("--json PLAN"); "--json=true" leaves it alone.
std::vector<std::string> unambiguous(const std::vector<std::string>& words,
                                     std::span<const core::OptionTable* const> tables) {
  std::vector<std::string> clear;
  bool options = true;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    options = options && word != "--";
    const auto* option =
        options && word.starts_with("--") ? find(tables, without_dashes(word)) : nullptr;
    const bool valued = i + 1 < words.size() && (words[i + 1] == "true" || words[i + 1] == "false");
    if (options && word.starts_with("--") && word.find('=') == word.size() - 1) {
      clear.push_back(word.substr(0, word.size() - 1));
      clear.emplace_back();
    } else {
      clear.push_back(option != nullptr && option->is_switch && !valued ? word + "=true" : word);
    }
  }
  return clear;
}

// Boost takes the next word as the value even if it is an option ("--out --json").
void check_value(const po::option& parsed, std::span<const core::OptionTable* const> tables) {
  if (parsed.original_tokens.size() != 2) return;
  const std::string& value = parsed.original_tokens[1];
  if (value.starts_with("--") && find(tables, without_dashes(value.substr(0, value.find('=')))))
    throw core::UsageError(
        fmt::format("option --{} needs a value, but {} follows", parsed.string_key, value));
}

const core::Option* next_positional(std::span<const core::OptionTable* const> tables,
                                    const std::set<std::string>& taken) {
  for (const auto* table : tables)
    for (const auto& option : table->options())
      if (option.positional && (option.repeated || !taken.contains(option.name))) return &option;
  return nullptr;
}

}  // namespace

CommandWords split_command(const std::vector<std::string>& words,
                           const core::OptionTable& leading) {
  CommandWords split;
  std::size_t i = 0;
  for (; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (!word.starts_with('-')) break;
    split.words.push_back(word);
    for (const auto& option : leading.options()) {
      const bool named = word == "--" + option.name ||
                         (option.short_name != 0 && word == fmt::format("-{}", option.short_name));
      if (named && !option.is_switch && i + 1 < words.size()) split.words.push_back(words[++i]);
    }
  }
  if (i < words.size()) split.command = words[i++];
  split.words.insert(split.words.end(), words.begin() + static_cast<std::ptrdiff_t>(i),
                     words.end());
  return split;
}

std::vector<stages::GivenOption> parse_command_line(
    const std::vector<std::string>& words, std::span<const core::OptionTable* const> tables,
    UnknownOptions unknown) {
  const po::options_description description = bind(tables);
  po::command_line_parser parser(unambiguous(words, tables));
  parser.options(description)
      .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing);
  if (unknown == UnknownOptions::skip) parser.allow_unregistered();
  std::vector<po::option> parsed;
  try {
    parsed = parser.run().options;
  } catch (const po::unknown_option& error) {
    refuse_unknown(tables, error.get_option_name());
  } catch (const po::invalid_command_line_syntax& error) {
    throw core::UsageError(fmt::format("option {} needs a value", error.get_option_name()));
  } catch (const po::error& error) {
    throw core::UsageError(fmt::format("command line: {}", error.what()));
  }

  std::vector<stages::GivenOption> given;
  std::set<std::string> taken;
  const auto take = [&](const std::string& name, const std::string& value) {
    const core::Option* option = find(tables, name);
    if (!taken.insert(name).second && !option->repeated)
      throw core::UsageError(fmt::format("option --{} is given twice", name));
    given.push_back({name, value, "command line"});
  };
  std::vector<std::string> loose;
  for (const auto& option : parsed) {
    if (option.position_key >= 0 || option.string_key.empty()) {
      loose.insert(loose.end(), option.value.begin(), option.value.end());
      continue;
    }
    if (option.unregistered) continue;
    check_value(option, tables);
    take(option.string_key, option.value.empty() ? "true" : option.value.front());
  }
  if (unknown == UnknownOptions::skip) return given;
  for (const auto& word : loose) {
    const core::Option* option = next_positional(tables, taken);
    if (option == nullptr)
      throw core::UsageError(
          fmt::format("the word '{}' is one too many; options begin with --", word));
    take(option->name, word);
  }
  return given;
}

}  // namespace retort::launch
