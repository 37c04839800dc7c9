// The program from its words to its exit code.
#pragma once

#include <string>
#include <vector>

namespace retort::launch {

/// `words`: the command line without the program's name. Prints errors, once for all ranks, and
/// returns the exit code (core/error.h). Does not return on ranks of a job that another rank ends.
int run_program(const std::vector<std::string>& words);

}  // namespace retort::launch
