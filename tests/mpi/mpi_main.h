// main() of a test program that runs under mpirun: every rank runs every test.
// Include it in one source file, and use ranks() in the tests.
#pragma once

#include <cstdio>
#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "comm/communicator.h"

namespace retort::tests {

/// The ranks of this test program; valid while tests run.
inline comm::Communicator*& ranks_pointer() {
  static comm::Communicator* communicator = nullptr;
  return communicator;
}
inline comm::Communicator& ranks() { return *ranks_pointer(); }

/// Prints failures of every rank; a test that a rank leaves early ends the job, since the others
/// would wait for it for ever.
class RankFailures : public testing::EmptyTestEventListener {
 public:
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d of %d: %s:%d: %s\n", ranks().rank(), ranks().size(),
                 result.file_name() ? result.file_name() : "?", result.line_number(),
                 result.summary());
    if (result.fatally_failed()) ranks().abort(1);
  }
};

inline int mpi_main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  comm::Communicator world = comm::Communicator::world();
  ranks_pointer() = &world;
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (!world.root()) delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new RankFailures);
  const int failed = RUN_ALL_TESTS();
  const int result = world.any(failed != 0) ? 1 : 0;
  ranks_pointer() = nullptr;
  return result;
}

}  // namespace retort::tests

int main(int argc, char** argv) { return retort::tests::mpi_main(argc, argv); }
