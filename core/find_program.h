// Programs on PATH.
#pragma once

#include <filesystem>
#include <string_view>

namespace retort::core {

/// The file that a shell would run for `name`; empty if there is none.
std::filesystem::path find_program(std::string_view name);

}  // namespace retort::core
