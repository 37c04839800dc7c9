#include "tests/fault/fault.h"

#include <array>
#include <filesystem>
#include <sstream>
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
    case Outcome::restarted:
      ++restarted;
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
      Fault{"rank-kill", "the same, always to one rank of several", kill_ranks},
      Fault{"rank-stop", "SIGSTOP to one rank, for ever", stop_ranks},
      Fault{"rank-pause", "SIGSTOP to one rank, and SIGCONT before the limit", pause_ranks},
      Fault{"bit-flip", "one bit of one file flipped", flip_bits},
      Fault{"truncate", "one file cut short", truncate_files},
      Fault{"read-flip", "one bit flipped in a file that the next command reads", flip_read_bits},
      Fault{"read-wrong", "a file cut short, zeroed in part, of another or an older run",
            read_wrong_files},
      Fault{"disk-full", "a write that finds no room", fill_disk},
      Fault{"job-stop", "USR2 or TERM at random moments, resumed on other ranks", stop_jobs},
      Fault{"write-error", "ENOSPC and EIO at each passage of a fault point", fail_writes,
            Cases::finite},
      Fault{"small-disk", "file systems too small for the run", shrink_disk},
      Fault{"power-loss", "what no fsync has made durable is gone, on ext4 and XFS", cut_power},
      Fault{"nan", "a loss or a gradient on one rank is no number", spoil_numbers},
      Fault{"poison", "a sample that kills whoever reads it", poison_samples},
      Fault{"stale-heartbeat", "the heartbeat of another host, dead or alive, of any clock",
            leave_heartbeats},
      Fault{"world-pairs", "stopped on 1 to 4 ranks, resumed on 1 to 4 others", pair_worlds,
            Cases::finite},
  };
  return kFaults;
}

Undisturbed run_undisturbed(const TinyPlan& plan) {
  Undisturbed result;
  result.run = plan.work() / "undisturbed";
  std::filesystem::remove_all(result.run);
  Start start = plan.start(result.run, 2, 1);
  const std::filesystem::path trace = plan.work() / "undisturbed.passages";
  arm(start, "*:1:trace", trace);
  const Ending ending = run(start);
  if (ending.exit_code != 0)
    throw std::runtime_error("the undisturbed run failed: " + ending.output + ending.state);
  result.passages = read_passages(trace);
  result.wall = ending.wall;
  result.fingerprint = TinyPlan::fingerprint(result.run);
  return result;
}

Ending check(const TinyPlan& plan, const std::filesystem::path& folder) {
  // A start that was refused before it wrote anything left locks and heartbeats at most.
  bool written = false;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const auto name = entry.path().filename();
    written = written || name == "manifest.json" || name.extension() == ".h5";
  }
  if (!written) {
    Ending nothing;
    nothing.exit_code = 0;
    return nothing;
  }
  Start start;
  start.command = {plan.program().string(), "check", folder.string()};
  start.limit = Seconds(90);
  return run(start);
}

std::vector<std::string> error_lines(const std::string& output) {
  std::vector<std::string> lines;
  std::istringstream stream(output);
  for (std::string line; std::getline(stream, line);)
    if (line.starts_with("retort") && line.find(": error: ") != std::string::npos)
      lines.push_back(line);
  return lines;
}

std::string tail(const std::string& text) {
  return text.size() < 600 ? text : text.substr(text.size() - 600);
}

}  // namespace retort::fault
