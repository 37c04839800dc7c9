// Goes on with a run folder: opens it, checks that what it resumes from is right, commits COUNT
// more steps, every other one behind the caller. The script checkpoint_worlds_test.sh runs it on
// changing numbers of ranks and kills it. Usage: checkpoint_worlds RUN COUNT [RANK FAULT], FAULT as
// in core/fault_point.h, armed on that rank.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "comm/communicator.h"
#include "core/error.h"
#include "io/checkpoint.h"
#include "tests/mpi/io/run_state.h"

namespace retort {
namespace {

int go_on(comm::Communicator& ranks, const std::string& run, std::uint64_t count) {
  io::RunFolder folder = io::RunFolder::open(ranks, run, "recipe", io::RunFolder::TakeOver::no);
  std::uint64_t step = 0;
  if (const auto checkpoint = folder.load()) {
    step = checkpoint->step;
    const bool right = io::digest(*checkpoint) == io::digest(tests::run_state(step));
    if (ranks.any(!right)) {
      std::fprintf(stderr, "rank %d: step %llu resumed wrongly\n", ranks.rank(),
                   static_cast<unsigned long long>(step));
      return 1;
    }
  }
  if (ranks.root()) std::printf("resumed %llu\n", static_cast<unsigned long long>(step));
  std::fflush(stdout);
  for (std::uint64_t i = 0; i < count; ++i) {
    if (++step % 2 == 0) {
      tests::commit_part(folder, step, ranks.rank(), ranks.size());
    } else {
      tests::begin_part(folder, step, ranks.rank(), ranks.size());
      folder.finish();
    }
    if (ranks.root()) std::printf("committed %llu\n", static_cast<unsigned long long>(step));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace retort

int main(int argc, char** argv) {
  if (argc != 3 && argc != 5) return 64;
  retort::comm::Communicator ranks = retort::comm::Communicator::world();
  if (argc == 5 && std::stoi(argv[3]) == ranks.rank()) setenv("RETORT_FAULT_POINT", argv[4], 1);
  try {
    return retort::go_on(ranks, argv[1], std::stoull(argv[2]));
  } catch (const retort::core::Error& error) {
    std::fprintf(stderr, "rank %d: %s\n", ranks.rank(), error.what());
    return static_cast<int>(error.code());
  }
}
