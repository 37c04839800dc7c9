#include "stages/stage.h"

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

}  // namespace retort::stages
