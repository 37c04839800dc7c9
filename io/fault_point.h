// Fault points: named places in io (and around commits) where a test can make the process die, an
// errno come back or bytes go bad. Off unless RETORT_FAULT_POINT is set (tests only):
// "NAME:COUNT:ACTION", at the COUNT-th (from 1) passage of NAME do ACTION = kill | EIO | ENOSPC |
// short | flip.
#pragma once

#include <string_view>

namespace retort::io {

enum class FaultAction { none, error_eio, error_enospc, short_write, flip_bit };

/// Passes the point: kills the process, or says what the caller must simulate.
FaultAction fault_point(std::string_view name);

}  // namespace retort::io
