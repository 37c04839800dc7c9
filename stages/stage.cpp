#include "stages/stage.h"

#include <algorithm>
#include <vector>

#include "core/error.h"

namespace retort::stages {

namespace {

void set_option(core::OptionTable& table, const GivenOption& option) {
  try {
    table.set(option.name, option.value);
  } catch (const core::UsageError& error) {
    throw core::UsageError(option.origin + ": " + error.what());
  }
}

}  // namespace

void set_options(Stage& stage, core::OptionTable& table, std::span<const GivenOption> given) {
  stage.declare(table);
  std::vector<const GivenOption*> later;
  for (const auto& option : given) {
    if (table.find(option.name) != nullptr)
      set_option(table, option);
    else
      later.push_back(&option);
  }
  stage.declare_dependent(table);
  for (const auto* option : later) set_option(table, *option);
  for (const auto& option : given)
    if (const std::string fault = table.choice_fault(option.name); !fault.empty())
      throw core::UsageError(option.origin + ": " + fault);
}

void apply_options(Stage& stage, core::OptionTable& table, std::span<const GivenOption> given) {
  set_options(stage, table, given);
  table.require();
  stage.validate();
}

bool is_there(const std::string& path) {
  const auto missing = [](const std::filesystem::path& one) {
    std::error_code error;
    return std::filesystem::status(one, error).type() == std::filesystem::file_type::not_found;
  };
  if (path.find(',') == std::string::npos || !missing(path)) return !missing(path);
  for (std::size_t at = 0; at <= path.size();) {
    const auto comma = std::min(path.find(',', at), path.size());
    if (comma > at && missing(path.substr(at, comma - at))) return false;
    at = comma + 1;
  }
  return true;
}

void require_inputs(const core::OptionTable& table) {
  for (const auto& option : table.options()) {
    if (option.effect != core::OptionEffect::input || !option.given || option.positional) continue;
    const std::string path = option.print();
    if (!path.empty() && !is_there(path))
      throw core::UsageError("--" + option.name + " " + path +
                             ": there is no such file or folder; check the path");
  }
}

}  // namespace retort::stages
