#include "comm/communicator.h"

#include <array>
#include <set>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::comm {
namespace {

TEST(SingleRank, IsItsOwnWorld) {
  Communicator one = Communicator::single();
  EXPECT_EQ(one.rank(), 0);
  EXPECT_EQ(one.size(), 1);
  EXPECT_TRUE(one.root());
  one.barrier();
  EXPECT_EQ(one.broadcast(std::string("text")), "text");
  EXPECT_EQ(one.all_gather(std::string("mine")), std::vector<std::string>{"mine"});
  EXPECT_EQ(one.all_gather(std::uint64_t{7}), std::vector<std::uint64_t>{7});
  EXPECT_EQ(one.all_reduce_sum(3), 3u);
  EXPECT_EQ(one.all_reduce_max(3), 3u);
  EXPECT_EQ(one.all_reduce_min(3), 3u);
  EXPECT_TRUE(one.any(true));
  EXPECT_FALSE(one.any(false));
}

TEST(SingleRank, ExchangesWithItself) {
  Communicator one = Communicator::single();
  std::array<std::byte, 4> from{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}}, to{};
  one.exchange({{0, from, to}}).wait();
  EXPECT_EQ(from, to);
  EXPECT_THROW(one.exchange({{1, from, to}}).wait(), core::InternalError);
  EXPECT_THROW(one.exchange({{0, from, {}}}).wait(), core::InternalError);
}

TEST(SingleRank, HandsErrorsOfWorkToWait) {
  Communicator one = Communicator::single();
  Pending failed = one.run([] { throw core::DataError("broken"); });
  EXPECT_TRUE(failed.done());
  EXPECT_THROW(failed.wait(), core::DataError);
  {
    Pending dropped = one.run([] { throw std::runtime_error("nobody looks"); });
  }
  int value = 0;
  one.run([&] { value = static_cast<int>(one.all_reduce_sum(5)); }).wait();
  EXPECT_EQ(value, 5);
}

TEST(SingleRank, ClaimsCountPerNameOverThreads) {
  Communicator one = Communicator::single();
  EXPECT_EQ(one.claim("a"), 0u);
  EXPECT_EQ(one.claim("b"), 0u);
  std::array<std::vector<std::uint64_t>, 4> got;
  std::vector<std::thread> threads;
  for (auto& mine : got)
    threads.emplace_back([&one, &mine] {
      for (int i = 0; i < 500; ++i) mine.push_back(one.claim("a"));
    });
  for (auto& thread : threads) thread.join();
  std::set<std::uint64_t> all;
  for (const auto& mine : got) all.insert(mine.begin(), mine.end());
  EXPECT_EQ(all.size(), 2000u);
  EXPECT_EQ(*all.begin(), 1u);
  EXPECT_EQ(*all.rbegin(), 2000u);
}

TEST(SingleRank, ClaimsSeveralNumbersAtOnce) {
  Communicator one = Communicator::single();
  EXPECT_EQ(one.claim("a", 10), 0u);
  EXPECT_EQ(one.claim("a"), 10u);
}

TEST(SingleRankDeathTest, AbortEndsTheProcessWithItsCode) {
  EXPECT_EXIT(Communicator::single().abort(65), testing::ExitedWithCode(65), "");
}

TEST(World, WithoutALauncherIsOneRank) {
  if (started_with_ranks()) GTEST_SKIP() << "this program was started with ranks";
  EXPECT_EQ(Communicator::world().size(), 1);
}

TEST(Pending, EmptyIsDone) {
  Pending nothing;
  EXPECT_TRUE(nothing.done());
  nothing.wait();
}

}  // namespace
}  // namespace retort::comm
