// The Communicator over real MPI ranks.
#include "comm/communicator.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <numeric>
#include <random>
#include <set>
#include <thread>

#include "core/error.h"
#include "tests/mpi/mpi_main.h"

namespace retort::comm {
namespace {

using tests::ranks;

std::uint64_t of_rank(int rank) { return static_cast<std::uint64_t>(rank); }

TEST(Collectives, AgreeOnEveryRank) {
  Communicator& world = ranks();
  const std::uint64_t rank = of_rank(world.rank()), size = of_rank(world.size());
  world.barrier();
  EXPECT_EQ(world.all_reduce_sum(rank + 1), size * (size + 1) / 2);
  EXPECT_EQ(world.all_reduce_max(rank), size - 1);
  EXPECT_EQ(world.all_reduce_min(rank + 5), 5u);
  EXPECT_EQ(world.all_reduce_sum(std::uint64_t{1} << 60), size << 60);
  EXPECT_TRUE(world.any(rank == size - 1));
  EXPECT_FALSE(world.any(false));
  std::vector<std::uint64_t> numbers(size);
  std::iota(numbers.begin(), numbers.end(), 0);
  EXPECT_EQ(world.all_gather(rank), numbers);
  std::vector<std::uint64_t> most{rank, size - rank, 7};
  world.all_reduce_max(most);
  EXPECT_EQ(most, (std::vector<std::uint64_t>{size - 1, size, 7}));
  world.all_reduce_max(std::span<std::uint64_t>());
}

TEST(Collectives, CarryTextsOfAnyLength) {
  Communicator& world = ranks();
  std::vector<std::string> expected;
  expected.reserve(of_rank(world.size()));
  for (int rank = 0; rank < world.size(); ++rank)
    expected.emplace_back(of_rank(rank) * 70'000, static_cast<char>('a' + rank));
  EXPECT_EQ(world.all_gather(expected[of_rank(world.rank())]), expected);
  EXPECT_EQ(world.broadcast(world.root() ? std::string("root's\0text", 11) : "other"),
            std::string("root's\0text", 11));
  EXPECT_EQ(world.broadcast(std::string()), "");
  EXPECT_EQ(world.all_gather(std::string()), std::vector<std::string>(of_rank(world.size())));
}

TEST(Collectives, BroadcastBytesInPlace) {
  Communicator& world = ranks();
  std::vector<std::uint32_t> values(300'000, 0);
  if (world.root()) std::iota(values.begin(), values.end(), 17u);
  world.broadcast(std::as_writable_bytes(std::span(values)));
  for (std::uint32_t i = 0; i < values.size(); i += 9973) ASSERT_EQ(values[i], i + 17);
}

TEST(Exchange, BringsEveryPairItsOwnBytes) {
  Communicator& world = ranks();
  const int size = world.size(), me = world.rank();
  // From a to b go (a + 1) * (b + 2) * 1000 numbers; from a to a too; with length 0 when a + b is
  // odd.
  const auto length = [](int a, int b) {
    return (a + b) % 2 ? std::size_t{0} : static_cast<std::size_t>((a + 1) * (b + 2)) * 1000;
  };
  std::vector<std::vector<int>> sent(of_rank(size)), got(of_rank(size));
  std::vector<PeerTransfer> transfers;
  for (int other = 0; other < size; ++other) {
    auto& out = sent[of_rank(other)];
    auto& in = got[of_rank(other)];
    out.assign(length(me, other), me * 100 + other);
    in.assign(length(other, me), -1);
    transfers.push_back(
        {other, std::as_bytes(std::span(out)), std::as_writable_bytes(std::span(in))});
  }
  world.exchange(transfers).wait();
  for (int other = 0; other < size; ++other)
    EXPECT_EQ(got[of_rank(other)], std::vector<int>(length(other, me), other * 100 + me));
}

TEST(Exchange, KeepsTheOrderOfSeveralTransfersWithOneRank) {
  Communicator& world = ranks();
  const int next = (world.rank() + 1) % world.size();
  const int previous = (world.rank() + world.size() - 1) % world.size();
  if (next == world.rank()) return;  // covered by the unit test of one rank
  std::vector<int> out{1, 2, 3, 4}, in(4);
  std::vector<PeerTransfer> transfers;
  transfers.reserve(out.size() + in.size());
  for (int& value : out) transfers.push_back({next, std::as_bytes(std::span(&value, 1)), {}});
  for (int& value : in)
    transfers.push_back({previous, {}, std::as_writable_bytes(std::span(&value, 1))});
  world.exchange(transfers).wait();
  EXPECT_EQ(in, out);
}

TEST(Exchange, ManyUnderWayAtOnce) {
  Communicator& world = ranks();
  const int next = (world.rank() + 1) % world.size();
  const int previous = (world.rank() + world.size() - 1) % world.size();
  constexpr std::size_t kMany = 200;
  std::vector<std::vector<std::uint64_t>> out(kMany), in(kMany);
  std::vector<Pending> pending;
  for (std::size_t i = 0; i < kMany; ++i) {
    out[i].assign(i * 37, of_rank(world.rank()) << 32 | i);
    in[i].assign(i * 37, 0);
    std::vector<PeerTransfer> transfers;
    const auto send = std::as_bytes(std::span(out[i]));
    const auto receive = std::as_writable_bytes(std::span(in[i]));
    if (next == previous) {
      transfers.push_back({next, send, receive});
    } else {
      transfers.push_back({next, send, {}});
      transfers.push_back({previous, {}, receive});
    }
    pending.push_back(world.exchange(transfers));
  }
  for (Pending& one : pending) one.wait();
  for (std::size_t i = 0; i < kMany; ++i)
    ASSERT_EQ(in[i], std::vector<std::uint64_t>(i * 37, of_rank(previous) << 32 | i));
}

TEST(Run, NestedCallsRunInPlaceAndOverlap) {
  Communicator& world = ranks();
  std::uint64_t sum = 0;
  std::vector<int> first(1000, world.rank()), second(50'000, world.rank() + 10);
  std::vector<int> first_in(1000), second_in(50'000);
  const int next = (world.rank() + 1) % world.size();
  const int previous = (world.rank() + world.size() - 1) % world.size();
  const auto both = [&](std::vector<int>& out, std::vector<int>& in) {
    std::vector<PeerTransfer> transfers;
    const auto send = std::as_bytes(std::span(out));
    const auto receive = std::as_writable_bytes(std::span(in));
    if (next == previous) return std::vector<PeerTransfer>{{next, send, receive}};
    return std::vector<PeerTransfer>{{next, send, {}}, {previous, {}, receive}};
  };
  world
      .run([&] {
        Pending one = world.exchange(both(first, first_in));
        Pending two = world.exchange(both(second, second_in));
        world.progress();
        two.wait();
        one.wait();
        sum = world.all_reduce_sum(2);
        EXPECT_EQ(world.claim("nested") < of_rank(world.size()), true);
      })
      .wait();
  EXPECT_EQ(sum, 2 * of_rank(world.size()));
  EXPECT_EQ(first_in, std::vector<int>(1000, previous));
  EXPECT_EQ(second_in, std::vector<int>(50'000, previous + 10));
}

TEST(Run, ErrorsComeOutOfWait) {
  Communicator& world = ranks();
  Pending failed = world.run([] { throw core::DataError("broken"); });
  EXPECT_THROW(failed.wait(), core::DataError);
  {
    Pending dropped = world.run([] { throw core::DataError("nobody looks"); });
  }
  EXPECT_EQ(world.all_reduce_sum(1), of_rank(world.size()));
}

TEST(Claim, GivesEachNumberToOneCaller) {
  Communicator& world = ranks();
  std::vector<std::vector<std::uint64_t>> got(2);
  std::vector<std::thread> threads;
  threads.reserve(got.size());
  for (auto& mine : got)
    threads.emplace_back([&world, &mine] {
      for (int i = 0; i < 200; ++i) mine.push_back(world.claim("each once"));
    });
  for (auto& thread : threads) thread.join();
  std::string bytes;
  for (const auto& mine : got)
    bytes.append(reinterpret_cast<const char*>(mine.data()), mine.size() * 8);
  std::multiset<std::uint64_t> all;
  for (const std::string& text : world.all_gather(bytes))
    for (std::size_t i = 0; i < text.size(); i += 8) {
      std::uint64_t value = 0;
      std::memcpy(&value, text.data() + i, 8);
      all.insert(value);
    }
  std::vector<std::uint64_t> expected(400 * of_rank(world.size()));
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_TRUE(std::equal(all.begin(), all.end(), expected.begin(), expected.end()));
}

TEST(Claim, TakesSeveralNumbersAtOnce) {
  Communicator& world = ranks();
  const std::uint64_t first = world.claim("blocks", 10);
  EXPECT_EQ(first % 10, 0u);
  EXPECT_EQ(world.all_reduce_sum(first),
            10 * of_rank(world.size()) * (of_rank(world.size()) - 1) / 2);
}

TEST(Claim, IsAnsweredWhileRankZeroComputes) {
  Communicator& world = ranks();
  world.barrier();
  if (world.root()) {
    // Keeps the caller's thread busy without a look at the communicator.
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
    volatile double x = 1;
    while (std::chrono::steady_clock::now() < end)
      for (int i = 0; i < 1000; ++i) x = x * 1.0000001;
  } else {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 20; ++i) world.claim("busy root");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(1000));
  }
  world.barrier();
}

TEST(Claim, IsAnsweredWhileACollectiveWaits) {
  Communicator& world = ranks();
  if (world.size() == 1) return;  // nobody else could be late
  std::atomic<std::uint64_t> sum{0};
  std::thread collective([&] { sum = world.all_reduce_sum(1); });
  if (!world.root()) {
    // Rank 1's thread sits in the sum that the last rank joins only after its claims.
    for (int i = 0; i < 10; ++i) world.claim("across");
  }
  collective.join();
  EXPECT_EQ(sum, of_rank(world.size()));
}

TEST(Stress, RandomOperationsInOneOrder) {
  Communicator& world = ranks();
  std::mt19937 order(11);  // the same on all ranks
  std::mt19937 own(static_cast<unsigned>(100 + world.rank()));
  const std::uint64_t size = of_rank(world.size());
  std::atomic<bool> stop{false};
  std::thread claims([&] {
    while (!stop) world.claim("stress");
  });
  for (int i = 0; i < 400; ++i) {
    if (own() % 16 == 0) std::this_thread::sleep_for(std::chrono::microseconds(own() % 3000));
    switch (order() % 6) {
      case 0:
        EXPECT_EQ(world.all_reduce_sum(static_cast<std::uint64_t>(i)),
                  static_cast<std::uint64_t>(i) * size);
        break;
      case 1:
        world.barrier();
        break;
      case 2: {
        std::string text(order() % 20'000, static_cast<char>('a' + i % 26));
        EXPECT_EQ(world.broadcast(world.root() ? text : ""), text);
        break;
      }
      case 3:
        EXPECT_EQ(world.all_gather(std::uint64_t{5}), std::vector<std::uint64_t>(size, 5));
        break;
      case 4: {
        const std::size_t n = order() % 30'000;
        std::vector<int> out(n, i), in(n);
        std::vector<Pending> pending;
        pending.reserve(3);
        const int partner = world.size() - 1 - world.rank();
        for (int k = 0; k < 3; ++k)
          pending.push_back(world.exchange(
              {{partner, std::as_bytes(std::span(out)), std::as_writable_bytes(std::span(in))}}));
        for (Pending& one : pending) one.wait();
        EXPECT_EQ(in, out);
        break;
      }
      case 5: {
        std::uint64_t found = 0;
        Pending later = world.run([&] { found = world.all_reduce_max(of_rank(world.rank())); });
        later.wait();
        EXPECT_EQ(found, size - 1);
        break;
      }
    }
  }
  stop = true;
  claims.join();
}

TEST(World, CannotBeMadeTwice) {
  if (!started_with_ranks()) GTEST_SKIP() << "not started with ranks";
  EXPECT_THROW(Communicator::world(), core::InternalError);
}

}  // namespace
}  // namespace retort::comm
