#include "comm/mpi_version.h"

#include <dlfcn.h>

#include <array>
#include <filesystem>
#include <system_error>

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

bool speaks_pmi() {
#ifdef OPEN_MPI
  namespace fs = std::filesystem;
  Dl_info library{};
  std::error_code error;
  // Its address as this program has it may be that of a stub.
  if (dladdr(dlsym(RTLD_DEFAULT, "MPI_Init_thread"), &library) == 0) return true;
  const fs::path folder = fs::canonical(library.dli_fname, error).parent_path();
  if (error) return true;
  // Open MPI 4 loads what it can speak from here: s1 and s2 are Slurm's PMI-1 and PMI-2.
  bool has_components = false;
  for (const char* place : {"openmpi", "openmpi/lib/openmpi3"})
    for (const auto& entry : fs::directory_iterator(folder / place, error)) {
      const std::string name = entry.path().filename().string();
      has_components = has_components || name.starts_with("mca_pmix_");
      if (name == "mca_pmix_s1.so" || name == "mca_pmix_s2.so") return true;
    }
  return !has_components;
#else
  return true;
#endif
}

}  // namespace retort::comm
