// A job that ends badly, in the way its argument names; tests/mpi/scripts/job_end_test.sh looks at
// how fast and with which code the whole of it is gone.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include "comm/communicator.h"

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
  if (how == "unwind") throw std::runtime_error("past the communicator");
}

}  // namespace

int main(int argc, char** argv) {
  const std::string how = argc > 1 ? argv[1] : "";
  try {
    Communicator world = Communicator::world();
    if (world.rank() == world.size() - 1) end_badly(world, how);
    if (how == "all-unwind") throw std::runtime_error("on every rank");
    if (how != "fine") world.run([&] { world.barrier(); }).wait();
  } catch (const std::runtime_error&) {
    return 9;
  }
  return 0;
}
