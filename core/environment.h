// Environment variables as text.
#pragma once

#include <string>

namespace retort::core {

/// The value; empty if the variable is not set.
std::string environment_variable(const char* name);

}  // namespace retort::core
