// What passed a fault point, as the program under test reports it (RETORT_FAULT_REPORT in
// core/fault_point.h).
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "tests/fault/child_process.h"

namespace retort::fault {

inline constexpr std::array<std::string_view, 3> kPlaces = {"capture", "checkpoint", "commit"};

/// Where a rank passes core::numbered_fault_point("collective", RANK): no file is written there,
/// and a trace of all points leaves it out.
inline constexpr std::string_view kCollective = "collective";
/// "collective-RANK:PASSAGE:ACTION": rank `rank` at one of its first collectives; `shrink`: of how
/// many, as a part of those of an undisturbed run.
std::string draw_collective(int ranks, double shrink, std::string_view action,
                            core::RandomStream& random);

struct Passage {
  std::string place;  // one of kPlaces or kCollective; -: none of them
  std::string point;
  pid_t process = 0;
  std::string path;
};

/// Arms `start`: `armed` is the value of RETORT_FAULT_POINT; what acts goes to `report`, made anew.
void arm(Start& start, const std::string& armed, const std::filesystem::path& report);

/// The part of a passage's path that is the same in every start: below `run`, without the words
/// that io::temporary_of and claims add for a process.
std::string steady_path(const std::string& path, const std::filesystem::path& run);

/// All whole lines of `report`; none if it is not there. Throws if a line is no passage.
std::vector<Passage> read_passages(const std::filesystem::path& report);

/// How many points of a place one process is likely to pass in an undisturbed run on `ranks` ranks,
/// judged from the passages of such a run on any number of ranks.
std::uint64_t reach(const std::vector<Passage>& passages, std::string_view place, int ranks);

}  // namespace retort::fault
