// A job that ends badly, in the way its argument names; tests/mpi/scripts/job_end_test.sh looks at
// how fast and with which code the whole of it is gone.
#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include "comm/communicator.h"
#include "core/log.h"

namespace {

using retort::comm::Communicator;

void end_badly(Communicator& world, const std::string& how) {
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  if (how == "abort") world.abort(65);
  if (how == "abort-on-thread") world.run([&] { world.abort(66); }).wait();
  if (how == "abort-in-barrier") {
    // Nobody comes: the barrier is under way when another thread gives up.
    std::thread waiting([&] { world.barrier(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    world.abort(67);
  }
  if (how == "abort-while-stuck") {
    retort::comm::Pending stuck =
        world.run([] { std::this_thread::sleep_for(std::chrono::hours(1)); });
    world.abort(68);
  }
  if (how == "kill") std::raise(SIGKILL);
  if (how == "stand-still") std::raise(SIGSTOP);
  if (how == "sleep") std::this_thread::sleep_for(std::chrono::hours(1));
  if (how == "spin")
    for (volatile std::uint64_t turns = 0;; turns = turns + 1) {
    }
  if (how == "unwind") throw std::runtime_error("past the communicator");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string how = argc > 1 ? argv[1] : "";
  try {
    Communicator world = Communicator::world();
    retort::core::start_log(retort::core::LogLevel::information, world.rank());
    const char* limit = std::getenv("WATCHDOG_MS");
    if (limit != nullptr) world.watch(std::chrono::milliseconds(std::atol(limit)));
    world.at("step", 41);
    const char* bad = std::getenv("BAD_RANK");
    const int bad_rank = bad != nullptr ? std::atoi(bad) : world.size() - 1;
    if (how == "short-stop" && world.rank() == bad_rank) {
      // Stands still for less than the limit: a child lets it go on.
      if (::fork() == 0) {
        std::this_thread::sleep_for(std::chrono::milliseconds(600));
        ::kill(::getppid(), SIGCONT);
        ::_exit(0);
      }
      std::raise(SIGSTOP);
    } else if (world.rank() == bad_rank) {
      end_badly(world, how);
    }
    if (how == "all-unwind") throw std::runtime_error("on every rank");
    if (how != "fine") world.run([&] { world.barrier(); }).wait();
  } catch (const std::runtime_error&) {
    return 9;
  }
  return 0;
}
