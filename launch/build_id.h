// Which build of the program this is.
#pragma once

#include <string>

namespace retort::launch {

/// The linker's GNU build id of the running program, in hex: builds of equal code and options
/// share it, others do not. Empty if it was linked without one.
std::string build_id();

}  // namespace retort::launch
