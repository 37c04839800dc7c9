#include "comm/mpi_version.h"

#include <array>

#include <mpi.h>

namespace retort::comm {

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  if (MPI_Get_library_version(text.data(), &length) != MPI_SUCCESS) return "MPI of unknown version";
  const std::string whole(text.data(), static_cast<std::size_t>(length));
  // Open MPI adds package, identifier and date behind commas.
  return whole.substr(0, whole.find_first_of(",\n"));
}

}  // namespace retort::comm
