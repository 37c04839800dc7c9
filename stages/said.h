// Whether an option says anything: a dumped configuration names every option with its value, and
// must read back.
#pragma once

#include <string_view>

#include "core/options.h"

namespace retort::stages {

/// It was given, with another value than its default.
inline bool is_said(const core::OptionTable& table, std::string_view name) {
  const core::Option* const option = table.find(name);
  return option != nullptr && option->given && option->print() != option->default_text;
}

}  // namespace retort::stages
