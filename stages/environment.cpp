#include "stages/environment.h"

#include "comm/mpi_version.h"
#include "core/processor.h"
#include "core/version.h"
#include "io/hdf5_version.h"
#include "nn/torch_version.h"

namespace retort::stages {

nlohmann::json environment(const StageContext& context) {
  return {{"retort", core::kVersion},
          {"torch", nn::torch_version()},
          {"kernels", nn::torch_cpu_capability()},
          {"mpi", comm::mpi_version()},
          {"hdf5", io::hdf5_version()},
          {"processor", core::processor_name()},
          {"ranks", context.communicator.size()},
          {"threads", context.threads}};
}

}  // namespace retort::stages
