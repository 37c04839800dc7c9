#include "tests/fault/stopping.h"

#include <signal.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/fault/resumption.h"

namespace retort::fault {
namespace {

namespace fs = std::filesystem;
using core::RandomStream;

constexpr Seconds kLimit{120};  // many times what an undisturbed run takes

/// A line of /proc/ID/status, after its name; empty if there is none.
std::string status_of(pid_t process, const std::string& name) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name)) return line.substr(std::min(line.size(), name.size() + 1));
  return {};
}

/// A process that has not set itself up yet would be ended by the signal, as any program.
bool hears(pid_t process, int signal) {
  const std::uint64_t bit = std::uint64_t{1} << (signal - 1);
  for (const char* set : {"SigBlk:", "SigCgt:"})
    if (std::strtoull(status_of(process, set).c_str(), nullptr, 16) & bit) return true;
  return false;
}

bool stands_still(pid_t process) { return status_of(process, "State:").starts_with("T"); }

std::optional<std::vector<pid_t>> audience_of(const TinyPlan& plan, pid_t program, int ranks,
                                              const StopRequest& request) {
  std::vector<pid_t> found{program};
  // One rank is the program itself.
  const std::vector<pid_t> running = ranks_of(program, plan.program());
  if (ranks > 1 && request.audience != Audience::starter) {
    if (running.size() != static_cast<std::size_t>(ranks)) return std::nullopt;
    const std::vector<pid_t> more =
        request.audience == Audience::all ? descendants(program) : running;
    found.insert(found.end(), more.begin(), more.end());
  }
  for (const pid_t process : found)
    if (!hears(process, request.signal)) return std::nullopt;
  return found;
}

std::uint64_t number_after(const std::string& line, const std::string& words) {
  const std::size_t at = line.find(words);
  std::uint64_t number = 0;
  if (at != std::string::npos)
    std::from_chars(line.data() + at + words.size(), line.data() + line.size(), number);
  return number;
}

/// The last step that the section's evaluations have published.
std::uint64_t last_step_published(const fs::path& folder) {
  std::uint64_t step = 0;
  std::ifstream file(folder / "metrics.jsonl");
  for (std::string line; std::getline(file, line);)
    step = std::max(step, number_after(line, "\"step\":"));
  return step;
}

int lost_steps(const std::string& output, const fs::path& folder) {
  std::uint64_t lost = 0;
  // One section is under way when a job ends, and the line is of that one.
  const std::uint64_t said = number_after(output, "stopped on request at step ");
  for (const SectionState& section : state_of_run(folder)) {
    const std::uint64_t done = std::max(said, last_step_published(section.folder));
    if (section.finished || section.claims.empty() || done == 0) continue;
    const std::uint64_t held =
        section.newest_generation.empty() ? 0 : number_after(section.newest_generation, "gen-");
    if (done > held) lost = std::max(lost, done - held);
  }
  return static_cast<int>(lost);
}

/// Complete shards that a capture said it left, less those that are there.
int lost_shards(const std::string& output, const fs::path& folder) {
  int held = 0;
  for (const SectionState& section : state_of_run(folder))
    if (!section.finished) held = std::max(held, section.shards);
  const int said = static_cast<int>(number_after(output, "stopped on request with "));
  return std::max(0, said - held);
}

}  // namespace

std::string StopRequest::story() const {
  const char* whom = audience == Audience::starter ? "the starter"
                     : audience == Audience::ranks ? "the starter and all ranks"
                                                   : "all processes";
  const char* name = signal == SIGTERM ? "TERM" : "USR2";
  if (place.empty()) return fmt::format("{} to {} at {:.2f} s", name, whom, moment.count());
  return fmt::format("{} to {} at {}:{}", name, whom, place, passage);
}

bool StopRequest::kills_ranks() const { return signal == SIGTERM && audience == Audience::all; }

bool StoppedJob::stopped() const {
  return ending.exit_code == static_cast<int>(core::ExitCode::requeue);
}

StopRequest draw_request(const Undisturbed& reference, std::string_view place, int ranks,
                         int signal, double shrink, RandomStream& random) {
  StopRequest request;
  request.signal = signal;
  request.audience = static_cast<Audience>(random.below(3));
  request.place = place;
  if (place.empty()) {
    request.moment = Seconds(random.uniform() * reference.wall.count() * shrink);
  } else {
    const auto most = static_cast<double>(reach(reference.passages, place, ranks)) * shrink;
    request.passage =
        1 + random.below(std::max<std::uint64_t>(1, static_cast<std::uint64_t>(most)));
  }
  return request;
}

StoppedJob stop_job(const TinyPlan& plan, const fs::path& folder, int ranks, int threads,
                    const StopRequest& request) {
  StoppedJob job;
  Start start = plan.start(folder, ranks, threads);
  start.limit = kLimit;
  const fs::path strikes = folder.string() + ".passages";
  if (!request.place.empty())
    arm(start, fmt::format("{}/*:{}:hold", request.place, request.passage), strikes);
  start.watch = [&](pid_t program, Seconds elapsed) {
    // Whoever stands still at the point is within it, and goes on once the signal is on its way.
    const std::vector<Passage> held =
        request.place.empty() ? std::vector<Passage>() : read_passages(strikes);
    if (!job.asked) {
      if (request.place.empty() ? elapsed < request.moment : held.empty()) return Watch::go_on;
      if (!held.empty() && !stands_still(held.front().process)) return Watch::go_on;
      const auto audience = audience_of(plan, program, ranks, request);
      if (!audience) return Watch::go_on;
      for (const pid_t process : *audience) ::kill(process, request.signal);
      job.asked = true;
      if (!held.empty()) job.place = held.front().place;
    }
    for (const Passage& passage : held)
      if (stands_still(passage.process)) ::kill(passage.process, SIGCONT);
    return Watch::go_on;
  };
  job.ending = run(start);
  fs::remove(strikes);
  if (job.ending.timed_out || job.ending.exit_code == 0) return job;
  job.lost_steps = lost_steps(job.ending.output, folder);
  if (!job.asked || !job.stopped())
    job.wrong = fmt::format("exit code {}, not 75", job.ending.exit_code);
  else if (!request.kills_ranks() && !error_lines(job.ending.output).empty())
    job.wrong = "an error although it was only asked to stop";
  else if (!request.kills_ranks() && job.lost_steps > 1)
    job.wrong = fmt::format("{} steps lost", job.lost_steps);
  else if (const int lost = lost_shards(job.ending.output, folder); lost > 0)
    job.wrong = fmt::format("{} shards lost that it said were complete", lost);
  return job;
}

}  // namespace retort::fault
