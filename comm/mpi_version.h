// Which library this layer stands on, for `retort --version` and `retort doctor`.
#pragma once

#include <string>

namespace retort::comm {

/// "Open MPI v4.1.4": the library that is loaded. Needs no MPI_Init.
std::string mpi_version();

}  // namespace retort::comm
