// Return codes of MPI. Private to comm.
#pragma once

#include <string>

#include <mpi.h>

#include "core/error.h"

namespace retort::comm {

inline void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw core::InternalError(std::string(call) + " failed: " + std::string(text, length) +
                            "; see the messages of the MPI launcher");
}

}  // namespace retort::comm
