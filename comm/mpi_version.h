// Which library this layer stands on, for `retort --version` and `retort doctor`.
#pragma once

#include <string>

namespace retort::comm {

/// "Open MPI v4.1.4": the library that is loaded. Needs no MPI_Init.
std::string mpi_version();

/// False if this is an Open MPI that can't join tasks of a launcher which offers PMI-1 or PMI-2
/// only: MPI_Init would end the process. Needs no MPI_Init.
bool speaks_pmi();

}  // namespace retort::comm
