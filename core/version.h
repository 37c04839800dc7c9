// The version of Retort, once; CMakeLists.txt names the same (a test compares them).
#pragma once

#include <string_view>

namespace retort::core {

inline constexpr std::string_view kVersion = "0.1.0";

}  // namespace retort::core
