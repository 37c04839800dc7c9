// Where tensors live and arithmetic runs: the CPU, or one GPU of this process.
#pragma once

#include <string>
#include <vector>

#include "core/options.h"

namespace retort::nn {

enum class DeviceChoice { automatic, cpu, cuda };

/// What this build and this machine offer.
struct GpuFacts {
  bool built = false;              // with the CUDA parts
  std::vector<std::string> names;  // "NVIDIA H200, 139.8 GiB, 9.0"; by index
  std::string obstacle;            // why there is none; empty if there is one
};
/// Never throws. Loads the driver at the first call of a program built with CUDA.
GpuFacts gpu_facts();

/// The place of this process: a GPU by its index, or the CPU.
struct Device {
  int gpu = -1;  // -1: the CPU
  bool cuda() const { return gpu >= 0; }
};

/// One process per GPU: the process with rank `local_rank` of the `local_size` on this machine
/// takes the GPU of that index. automatic: a GPU if `facts` has any, else the CPU. UsageError, with
/// what to do, if cuda is asked for and not there, or if there are more processes than GPUs.
Device choose_device(DeviceChoice choice, const GpuFacts& facts, int local_rank, int local_size);

/// Makes it the device of this thread and sets what makes its results repeatable: deterministic
/// cuDNN algorithms, no search for the fastest one, no TF32. Nothing to do for the CPU.
void use_device(const Device& device);

/// Declares --device.
void declare_device(core::OptionTable& table, DeviceChoice* choice);

}  // namespace retort::nn
