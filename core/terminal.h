// What standard error is: a terminal, or a pipe that ends in one (ranks started by `retort -n`).
#pragma once

namespace retort::core {

/// Set by `retort -n N` for its ranks when its own standard error is a terminal; the value is the
/// number of columns.
inline constexpr const char* kTerminalVariable = "RETORT_LOCAL_TERMINAL";

/// Columns of the terminal that shows standard error; 0 if there is none.
int terminal_columns();

}  // namespace retort::core
