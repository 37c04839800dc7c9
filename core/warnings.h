// What was warned of, for the records of a run.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace retort::core {

/// At most so many are kept; later ones are dropped.
inline constexpr std::size_t kKeptWarnings = 100;

/// The lines that this process logged as warnings since the last call, oldest first. Thread-safe.
std::vector<std::string> take_warnings();

}  // namespace retort::core
