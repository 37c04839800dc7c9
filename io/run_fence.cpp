#include "io/run_fence.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "core/environment.h"
#include "core/error.h"
#include "core/log.h"
#include "io/atomic_file.h"
#include "io/json_text.h"
#include "io/live_claim.h"
#include "io/posix.h"

namespace retort::io {
namespace {

using std::chrono::milliseconds;

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "unknown";
}

std::uint64_t restart_count() {
  const std::string text = core::environment_variable("SLURM_RESTART_COUNT");
  return std::strtoull(text.c_str(), nullptr, 10);
}

// Start of a process in clock ticks since boot (field 22 of /proc/PID/stat): with the pid it names
// one process for the life of the host. 0 if there is none.
std::uint64_t process_start(std::int64_t pid) {
  std::ifstream stream("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(stream)), {});
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) {
    if (!(fields >> field)) return 0;
    if (i == 3 && field == "Z") return 0;  // dead, not yet collected by its parent
  }
  return std::strtoull(field.c_str(), nullptr, 10);
}

enum class LockState { held, busy, unsupported };

LockState try_lock(const Descriptor& file) {
  int result = 0;
  do {
    result = ::flock(file.get(), LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return LockState::held;
  return errno == EWOULDBLOCK ? LockState::busy : LockState::unsupported;
}

milliseconds to_milliseconds(const timespec& time) {
  return milliseconds(std::int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1000000);
}

// A heartbeat as found on disk.
struct Beat {
  std::string text;
  std::string host;
  std::int64_t pid = 0;
  std::uint64_t process_start = 0;
  std::string slurm_job;
  std::uint64_t slurm_restart = 0;
  milliseconds changed{};  // by the clock of the file system
};

}  // namespace

struct RunFence::State {
  std::filesystem::path run;
  FenceTimes times;
  Descriptor lock;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable stop_now;
  bool stop = false;
  bool locked = false;
  std::atomic<std::uint32_t> epoch = 0;  // from claim() on

  // The heartbeat is a later start's: this one's heart beats no more. Where the folder was made
  // anew, the claim of the plan says so.
  bool superseded() const {
    if (is_taken_over()) return true;
    try {
      return epoch != 0 && later_claim(run, epoch);
    } catch (const core::IoError&) {
      return false;  // cannot be seen now; a beat too many does less harm than one too few
    }
  }

  std::filesystem::path heartbeat_path() const { return run / "heartbeat.json"; }

  std::optional<Beat> read_beat() const {
    const Descriptor file = open_descriptor(heartbeat_path(), O_RDONLY);
    if (!file.valid()) return std::nullopt;
    Beat beat;
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return std::nullopt;
    beat.changed = to_milliseconds(status.st_mtim);
    char buffer[4096];
    for (ssize_t got = 0; (got = ::read(file.get(), buffer, sizeof buffer)) > 0;) {
      beat.text.append(buffer, static_cast<std::size_t>(got));
      if (beat.text.size() > sizeof buffer) break;
    }
    try {
      const auto json = nlohmann::json::parse(beat.text);
      beat.host = json.at("host").get<std::string>();
      beat.pid = json.at("pid").get<std::int64_t>();
      beat.process_start = json.at("process_start").get<std::uint64_t>();
      beat.slurm_job = json.at("slurm_job").get<std::string>();
      beat.slurm_restart = json.at("slurm_restart").get<std::uint64_t>();
    } catch (const nlohmann::json::exception&) {
      // Someone's heart all the same: its changes still tell whether it beats.
    }
    return beat;
  }

  // Now, by the clock of the file system: clocks of hosts may differ by more than a heartbeat.
  milliseconds now() const {
    struct stat status {};
    if (::futimens(lock.get(), nullptr) != 0 || ::fstat(lock.get(), &status) != 0) {
      throw_io_error("touch", run / "lock", errno);
    }
    return to_milliseconds(status.st_mtim);
  }

  // Liveness, not data: no fsync and no fault points, a torn one is only a beat that is missing.
  void write_beat(std::uint64_t number) const {
    const nlohmann::json json = {{"host", host_name()},
                                 {"pid", static_cast<std::int64_t>(::getpid())},
                                 {"process_start", process_start(::getpid())},
                                 {"slurm_job", core::environment_variable("SLURM_JOB_ID")},
                                 {"slurm_restart", restart_count()},
                                 {"beat", number}};
    const std::filesystem::path temporary = temporary_of(heartbeat_path());
    {
      std::ofstream stream(temporary, std::ios::binary | std::ios::trunc);
      stream << json.dump() << "\n";
      if (!stream.flush()) return;
    }
    ::rename(temporary.c_str(), heartbeat_path().c_str());
  }

  [[noreturn]] void refuse(const std::optional<Beat>& beat) const {
    const std::string who = beat && !beat->host.empty()
                                ? "process " + std::to_string(beat->pid) + " on host " + beat->host
                                : "another process";
    throw core::UsageError(run.string() + " is in use by " + who +
                           ": one start at a time; wait for it to end, cancel it, choose another "
                           "folder, or give --take-over if it is dead");
  }

  // Watches the heartbeat of another host until it changes (alive) or has been still for long
  // enough (dead). Its own times are only believed so far: a clock that is wrong by minutes would
  // make a heart that beats look long dead, and keep a dead one fresh for as long.
  bool alive_elsewhere(const Beat& first) const {
    const milliseconds age = now() - first.changed;
    const milliseconds rest = age < milliseconds(0) ? times.fresh : times.fresh - age;
    const auto end = std::chrono::steady_clock::now() + std::max(rest, 3 * times.beat);
    while (true) {
      const auto left = end - std::chrono::steady_clock::now();
      if (left <= left.zero()) return false;
      std::this_thread::sleep_for(
          std::min<std::chrono::nanoseconds>(std::max(times.beat / 8, milliseconds(5)), left));
      const std::optional<Beat> again = read_beat();
      if (!again) return false;  // it ended in the meantime
      if (again->text != first.text || again->changed != first.changed) return true;
    }
  }

  void enter(RunFolder::TakeOver take_over) {
    lock = open_descriptor(run / "lock", O_RDWR | O_CREAT);
    if (!lock.valid()) throw_io_error("create", run / "lock", errno);
    const std::optional<Beat> beat = read_beat();
    const std::string job = core::environment_variable("SLURM_JOB_ID");
    const bool requeued =
        beat && !job.empty() && beat->slurm_job == job && restart_count() > beat->slurm_restart;
    LockState state = try_lock(lock);
    const auto patience = std::chrono::steady_clock::now() + times.grace;
    while (state == LockState::busy && take_over == RunFolder::TakeOver::no && !requeued &&
           std::chrono::steady_clock::now() < patience) {
      std::this_thread::sleep_for(std::min(milliseconds(20), times.grace));
      state = try_lock(lock);
    }
    locked = state == LockState::held;
    if (take_over == RunFolder::TakeOver::yes || requeued) {
      if (state == LockState::busy) {
        core::log_warning("{}: taking over from a start that still holds the lock", run.string());
      }
      return;
    }
    if (state == LockState::busy) refuse(beat);
    if (!beat) return;
    if (beat->host == host_name()) {
      const bool own = beat->pid == ::getpid();  // a start of this process that ended
      if (!own && beat->process_start != 0 && process_start(beat->pid) == beat->process_start) {
        refuse(beat);
      }
      return;
    }
    if (alive_elsewhere(*beat)) refuse(beat);
  }

  void beat_until_stopped() {
    // Signals are for the threads of the program.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::unique_lock hold(mutex);
    for (std::uint64_t number = 1; !stop_now.wait_for(hold, times.beat, [&] { return stop; });
         ++number) {
      // After a take-over the old start may still hold the lock: take it when it is free.
      if (!locked) locked = try_lock(lock) == LockState::held;
      if (!superseded()) write_beat(number);
    }
  }
};

RunFence::RunFence(const std::filesystem::path& run, RunFolder::TakeOver take_over,
                   FenceTimes times)
    : state_(std::make_unique<State>()) {
  state_->run = run;
  state_->times = times;
  state_->enter(take_over);
  state_->write_beat(0);
  state_->thread = std::thread([state = state_.get()] { state->beat_until_stopped(); });
}

RunFence::~RunFence() {
  {
    const std::lock_guard hold(state_->mutex);
    state_->stop = true;
  }
  state_->stop_now.notify_all();
  state_->thread.join();
  if (!state_->superseded()) ::unlink(state_->heartbeat_path().c_str());
}

void RunFence::claim(std::uint32_t epoch, std::optional<GenerationId> resumes_from,
                     const std::string& recipe_hash) {
  const std::filesystem::path folder = claims_folder(state_->run);
  const std::filesystem::path path = folder / claim_name(epoch);
  nlohmann::json json = {{"epoch", epoch}, {"recipe_hash", recipe_hash}, {"resumes_from", nullptr}};
  if (resumes_from) json["resumes_from"] = name_of(*resumes_from);
  // Written whole under a name of its own, then linked: the link is exclusive, and no kill leaves a
  // claim without its text.
  const std::filesystem::path own =
      folder / ("new-" + host_name() + "-" + std::to_string(::getpid()));
  write_file(own, sealed_text(json));
  pass_fault_point("claim", "create", path);
  const int result = ::link(own.c_str(), path.c_str());
  const int error = errno;
  ::unlink(own.c_str());
  if (result != 0 && error == EEXIST) {
    throw core::UsageError(path.string() +
                           " was claimed by another start at the same moment: one start at a time; "
                           "wait for it to end or choose another folder");
  }
  if (result != 0) throw_io_error("create", path, error);
  sync_folder(folder);
  state_->epoch = epoch;
}

void RunFence::require_newest(std::uint32_t epoch) const {
  if (const auto other = later_claim(state_->run, epoch))
    throw_taken_over(state_->run, *other, epoch);
}

}  // namespace retort::io
