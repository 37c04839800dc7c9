#include "tests/fault/fault.h"

#include <array>
#include <stdexcept>

namespace retort::fault {

void Tally::add(Outcome outcome) {
  switch (outcome) {
    case Outcome::identical:
      ++identical;
      break;
    case Outcome::silent:
      ++silent;
      break;
    case Outcome::crash:
      ++crashes;
      break;
    case Outcome::hang:
      ++hangs;
      break;
  }
}

std::span<const Fault> faults() {
  static constexpr std::array kFaults = {
      Fault{"world-size", "none but another number of ranks and threads", change_ranks},
      Fault{"job-kill", "SIGKILL at random moments, resumed on other ranks", kill_jobs},
      Fault{"bit-flip", "one bit of one file flipped", flip_bits},
      Fault{"truncate", "one file cut short", truncate_files},
      Fault{"disk-full", "a write that finds no room", fill_disk},
  };
  return kFaults;
}

Undisturbed run_undisturbed(const TinyPlan& plan) {
  Undisturbed result;
  result.run = plan.work() / "undisturbed";
  std::filesystem::remove_all(result.run);
  const Ending ending = run(plan.start(result.run, 2, 1));
  if (ending.exit_code != 0)
    throw std::runtime_error("the undisturbed run failed: " + ending.output);
  result.wall = ending.wall;
  result.fingerprint = plan.fingerprint(result.run);
  return result;
}

std::string draw_fault_point(core::RandomStream& random) {
  static constexpr std::array kPoints = {"atomic-open", "atomic-write", "atomic-fsync",
                                         "atomic-rename", "atomic-committed"};
  return kPoints[random.below(kPoints.size())];
}

}  // namespace retort::fault
