#include "comm/start_alarm.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>

#include "comm/host_name.h"
#include "core/error.h"
#include "core/log.h"

namespace retort::comm {
namespace {

constexpr std::chrono::milliseconds kSlice{100};

// As the launcher numbers it: MPI may not have said yet.
std::string launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (const char* value = std::getenv(name)) return value;
  return "0";
}

}  // namespace

StartAlarm::StartAlarm(std::chrono::milliseconds limit, std::string waits_for)
    : limit_(limit), waits_for_(std::move(waits_for)) {
  if (limit_.count() == 0) return;
  // Signals are for the threads of the program.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

StartAlarm::~StartAlarm() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void StartAlarm::run() {
  std::unique_lock lock(mutex_);
  const auto is_over = [this] { return over_; };
  // In slices, each counted once: time in which this process itself stood still does not count.
  for (std::chrono::milliseconds waited{0}; waited < limit_; waited += kSlice)
    if (changed_.wait_for(lock, kSlice, is_over)) return;
  // All that wait find it out at once and can't agree: the first speaks, and its end takes the job
  // along, as a rule before others speak.
  const std::string rank = launched_rank();
  const long place = std::strtol(rank.c_str(), nullptr, 10);
  if (changed_.wait_for(lock, std::chrono::milliseconds(1500 * std::clamp(place, 0L, 3L)), is_over))
    return;
  core::log_error(
      "rank {} on host {} has waited {:.0f} s for {}: a rank or its host stands still, or the "
      "launcher lost it; the job ends; start again",
      rank, host_name(), std::chrono::duration<double>(limit_).count(), waits_for_);
  std::_Exit(static_cast<int>(core::ExitCode::internal));
}

}  // namespace retort::comm
