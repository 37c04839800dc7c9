#include "pipeline/plan_fence.h"

#include <algorithm>

#include "core/error.h"
#include "io/run_fence.h"
#include "pipeline/agreement.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using io::RunFolder;

/// Enters and leaves: refused if a start lives there. What a dead one left goes.
void require_dead(const fs::path& folder) {
  std::error_code code;
  if (fs::exists(folder / "heartbeat.json", code)) io::RunFence(folder, RunFolder::TakeOver::no);
}

void require_no_section_start(const fs::path& run) {
  std::error_code code;
  for (auto entry = fs::directory_iterator(run / ".plan" / "starts", code);
       !code && entry != fs::directory_iterator(); entry.increment(code))
    require_dead(entry->path());
}

}  // namespace

fs::path start_folder(const fs::path& run, const std::string& section) {
  std::string flat = section;
  std::replace(flat.begin(), flat.end(), '/', '.');
  return run / ".plan" / "starts" / flat;
}

// Both kinds of start claim their own place and then look at the other's: of two that come at the
// same moment, at least one sees the other. A start of the plan looks before it claims, too: a
// claim clears away what it takes for leftovers, and the places of sections lie within its own.

RunFolder claim_plan(comm::Communicator& communicator, const fs::path& run,
                     RunFolder::TakeOver take_over) {
  const auto look = [&] {
    if (take_over == RunFolder::TakeOver::no) require_no_section_start(run);
    return std::string();
  };
  from_root(communicator, look);
  auto own = RunFolder::open(communicator, run / ".plan", "plan", take_over);
  from_root(communicator, look);
  return own;
}

PlanFence fence_plan(comm::Communicator& communicator, const fs::path& run,
                     RunFolder::TakeOver take_over) {
  PlanFence held;
  try {
    held.claimed.emplace(claim_plan(communicator, run, take_over));
  } catch (const core::IoError&) {
    from_root(communicator, [&] {
      held.fence = std::make_unique<io::RunFence>(run / ".plan", take_over);
      if (take_over == RunFolder::TakeOver::no) require_no_section_start(run);
      return std::string();
    });
  }
  return held;
}

RunFolder claim_section(comm::Communicator& communicator, const fs::path& run,
                        const std::string& section, RunFolder::TakeOver take_over) {
  auto own = RunFolder::open(communicator, start_folder(run, section), "section", take_over);
  from_root(communicator, [&] {
    if (take_over == RunFolder::TakeOver::no) require_dead(run / ".plan");
    return std::string();
  });
  return own;
}

RunFolder claim_submission(comm::Communicator& communicator, const fs::path& run,
                           RunFolder::TakeOver take_over) {
  return RunFolder::open(communicator, run / ".slurm", "submission", take_over);
}

}  // namespace retort::pipeline
