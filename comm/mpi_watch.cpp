// How the ranks' watchdog is set up over MPI, and how it ends the job.
#include <algorithm>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "comm/host_name.h"
#include "comm/mpi_backend.h"
#include "comm/start_alarm.h"
#include "core/error.h"
#include "core/log.h"

namespace retort::comm {
namespace {

// For the rank that found a loss to say so and end the job.
constexpr auto kLostGrace = std::chrono::seconds(1);

}  // namespace

void MpiBackend::watch(std::chrono::milliseconds limit) {
  if (size_ == 1 || limit.count() == 0) return;
  if (watchdog_) throw core::InternalError("the watchdog was started before");
  const StartAlarm alarm(limit, "the other ranks to begin");
  Watchdog::Job job{rank_, all_gather(host_name()), limit, {}, 0};
  const bool one_host = std::all_of(job.hosts.begin(), job.hosts.end(),
                                    [&](const std::string& host) { return host == job.hosts[0]; });
  std::unique_ptr<WatchListener> listener;
  std::string told;  // address and token; an error of rank 0 comes as text behind a blank
  if (rank_ == 0) {
    try {
      listener =
          std::make_unique<WatchListener>(one_host ? WatchReach::this_host : WatchReach::all_hosts);
      std::random_device random;
      const std::uint64_t token = std::uint64_t{random()} << 32 | random();
      told = listener->address() + " " + std::to_string(token);
    } catch (const core::IoError& error) {
      told = std::string(" ") + error.what();
    }
  }
  told = broadcast_text(told);
  const std::size_t blank = told.find(' ');
  if (blank == 0) throw core::IoError(told.substr(1));
  job.address = told.substr(0, blank);
  job.token = std::stoull(told.substr(blank + 1));
  const std::lock_guard lock(watchdog_mutex_);
  watchdog_ = std::make_unique<Watchdog>(std::move(job), std::move(listener), activity_,
                                         [this](const std::string& why) { end_watched(why); });
}

// On the watchdog's thread.
void MpiBackend::end_watched(const std::string& why) {
  if (why.empty())
    std::this_thread::sleep_for(kLostGrace);  // the rank that found out ends the job
  else
    core::log_error("{}", why);
  abort(static_cast<int>(core::ExitCode::internal));
}

}  // namespace retort::comm
