// Which device a rank of a stage computes on.
#pragma once

#include "comm/communicator.h"
#include "nn/device.h"
#include "nn/input.h"

namespace retort::stages {

/// Collective. The place of this rank, by its number among the ranks of its machine. Models of text
/// stay on the CPU: UsageError if a GPU is asked for. UsageError when --device cannot be had. Says
/// on the log which GPU it is.
nn::Device place(comm::Communicator& communicator, nn::DeviceChoice choice, nn::InputKind input);

}  // namespace retort::stages
