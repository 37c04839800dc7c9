#include "nn/device.h"

#include <fmt/format.h>

#include "core/error.h"

namespace retort::nn {

Device choose_device(DeviceChoice choice, const GpuFacts& facts, int local_rank, int local_size) {
  if (choice == DeviceChoice::cpu) return {};
  if (facts.names.empty()) {
    if (choice == DeviceChoice::automatic) return {};
    throw core::UsageError(fmt::format("--device cuda: {}; {}", facts.obstacle,
                                       facts.built
                                           ? "give --device cpu, or look at `retort doctor`"
                                           : "give --device cpu, or build with the preset cuda"));
  }
  const auto devices = static_cast<int>(facts.names.size());
  if (local_size > devices)
    throw core::UsageError(
        fmt::format("{} ranks on this machine share {} GPU(s): start one rank per GPU, or give "
                    "--device cpu",
                    local_size, devices));
  return {local_rank};
}

void declare_device(core::OptionTable& table, DeviceChoice* choice) {
  table
      .add_choice<DeviceChoice>("device", choice,
                                {{"auto", DeviceChoice::automatic},
                                 {"cpu", DeviceChoice::cpu},
                                 {"cuda", DeviceChoice::cuda}},
                                "Where to compute: a GPU per rank if there is one, or as said")
      .effect = core::OptionEffect::run;
}

}  // namespace retort::nn
