// Who may run sections of a run folder at the same time: one start of the whole plan alone, or
// starts of single sections beside each other, one per section (jobs of `submit`).
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "io/checkpoint.h"
#include "io/run_fence.h"

namespace retort::pipeline {

/// RUN/.plan/starts/NAME (teacher.seed-2): lock, heartbeat and claims of a start of one section.
std::filesystem::path start_folder(const std::filesystem::path& run, const std::string& section);

/// Collective. UsageError while another start of the plan or of any of its sections lives.
io::RunFolder claim_plan(comm::Communicator& communicator, const std::filesystem::path& run,
                         io::RunFolder::TakeOver take_over);

/// Keeps starts of the plan and its sections away: by a claim, or where there is none by the lock.
struct PlanFence {
  std::optional<io::RunFolder> claimed;
  std::unique_ptr<io::RunFence> fence;
};
/// Collective. As claim_plan(), but also where there is no room for a claim: for the command that
/// makes room.
PlanFence fence_plan(comm::Communicator& communicator, const std::filesystem::path& run,
                     io::RunFolder::TakeOver take_over);

/// Collective. UsageError while another start of this section or of the whole plan lives.
io::RunFolder claim_section(comm::Communicator& communicator, const std::filesystem::path& run,
                            const std::string& section, io::RunFolder::TakeOver take_over);

/// Collective. UsageError while another submission of the run is under way (RUN/.slurm).
io::RunFolder claim_submission(comm::Communicator& communicator, const std::filesystem::path& run,
                               io::RunFolder::TakeOver take_over);

}  // namespace retort::pipeline
