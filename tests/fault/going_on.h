// The start after a fault, when nothing is wrong any more: it must go on to the undisturbed result.
#pragma once

#include <filesystem>
#include <string>

#include "tests/fault/fault.h"

namespace retort::fault {

/// What a case is about, for the lines that report it.
struct Scene {
  const TinyPlan& plan;
  const Undisturbed& reference;
  std::filesystem::path folder;
  std::string story;  // begins with the folder's name
  const Report& report;

  /// Reports how a start ended that should have ended in another way.
  Outcome ended_wrong(const Ending& ending, const std::string& why) const;
  /// Whether the run has the undisturbed result. It has ended with exit code 0.
  Outcome compare() const;
};

/// Starts the plan in the scene's folder on `ranks` ranks. Exit code 0, nothing done again that was
/// complete, the undisturbed result.
Outcome go_on(const Scene& scene, int ranks, Tally& tally);
/// The same, once `check` has found nothing half-written or damaged there.
Outcome check_and_go_on(const Scene& scene, int ranks, Tally& tally);

/// Runs `one` for each case; one that throws is a crash. The folders of good cases are removed.
Tally run_cases(const TinyPlan& plan, int count, const Report& report,
                const std::function<Outcome(int number, const std::filesystem::path& folder,
                                            Tally& tally)>& one);

}  // namespace retort::fault
