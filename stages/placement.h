// Which device a rank of a stage computes on.
#pragma once

#include <string>

#include "comm/communicator.h"
#include "nn/device.h"
#include "nn/input.h"

namespace retort::stages {

/// Why models of this input stay on the CPU; empty: they need not.
std::string gpu_obstacle(nn::InputKind input);

/// Collective. The place of this rank, by its number among the ranks of its machine. `obstacle`:
/// why this work stays on the CPU, wherever GPUs are; empty: it need not. UsageError if a GPU is
/// asked for nevertheless, or cannot be had. Says on the log which GPU it is.
nn::Device place(comm::Communicator& communicator, nn::DeviceChoice choice,
                 const std::string& obstacle);

}  // namespace retort::stages
