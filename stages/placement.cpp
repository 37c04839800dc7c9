#include "stages/placement.h"

#include <unistd.h>

#include <array>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/log.h"

namespace retort::stages {

namespace {

std::string host_name() {
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace

std::string gpu_obstacle(nn::InputKind input) {
  if (input == nn::InputKind::pictures) return {};
  return "models of text are computed on the CPU (the gradients of embeddings have no GPU kernel "
         "with "
         "a fixed order of additions)";
}

nn::Device place(comm::Communicator& communicator, nn::DeviceChoice choice,
                 const std::string& obstacle) {
  if (choice == nn::DeviceChoice::cpu) return {};
  if (!obstacle.empty() && choice == nn::DeviceChoice::cuda)
    throw core::UsageError(fmt::format("--device cuda: {}: give --device cpu", obstacle));
  const nn::GpuFacts facts = nn::gpu_facts();
  if (!obstacle.empty()) {
    if (!facts.names.empty()) core::log_info("{}", obstacle);
    return {};
  }
  int local_rank = 0, local_size = 0;
  const std::vector<std::string> hosts = communicator.all_gather(host_name());
  const auto rank = static_cast<std::size_t>(communicator.rank());
  for (std::size_t other = 0; other < hosts.size(); ++other) {
    if (hosts[other] != hosts[rank]) continue;
    local_rank += other < rank ? 1 : 0;
    ++local_size;
  }
  nn::Device device;
  std::string refusal;
  try {
    device = nn::choose_device(choice, facts, local_rank, local_size);
  } catch (const core::UsageError& error) {
    refusal = error.what();
  }
  // All ranks of a job compute on GPUs, or none does; and an error comes from all together.
  for (const std::string& text : communicator.all_gather(refusal))
    if (!text.empty()) throw core::UsageError(text);
  if (communicator.all_reduce_min(device.cuda() ? 1 : 0) == 0) return {};
  core::log_info("GPU {}: {}", device.gpu, facts.names[static_cast<std::size_t>(device.gpu)]);
  return device;
}

}  // namespace retort::stages
