#include "comm/watch_link.h"

#include <sys/socket.h>

#include <optional>
#include <thread>

#include <gtest/gtest.h>

namespace retort::comm {
namespace {

using std::chrono::milliseconds;

/// A rank's end and rank 0's end of one connection.
struct Pair {
  explicit Pair(WatchReach reach = WatchReach::this_host) : listener(reach) {
    rank = connect_to(listener.address(), milliseconds(2000));
    for (int i = 0; i < 200 && !root; ++i) {
      root = listener.accept();
      if (!root) std::this_thread::sleep_for(milliseconds(5));
    }
  }
  WatchListener listener;
  WatchSocket rank;
  std::optional<WatchSocket> root;
};

/// Until something has come or the connection is broken.
WatchSocket::Received wait_for(WatchSocket& socket) {
  for (int i = 0; i < 400; ++i) {
    WatchSocket::Received received = socket.receive();
    if (!received.messages.empty() || received.broken) return received;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return {};
}

TEST(WatchLink, MessagesComeWholeAndInOrder) {
  for (const WatchReach reach : {WatchReach::this_host, WatchReach::all_hosts}) {
    Pair pair(reach);
    ASSERT_TRUE(pair.rank.open());
    ASSERT_TRUE(pair.root);
    pair.rank.send({WatchKind::hello, 7, 0x123456789abcdefULL, {1, 2, "step", "", {}}});
    pair.rank.send(
        {WatchKind::sign,
         7,
         0,
         {12, 41, "a unit of a length beyond all reason",
          "an operation with a name that is longer than the room for it", milliseconds(5)}});
    std::vector<WatchMessage> messages;
    while (messages.size() < 2) {
      const auto received = wait_for(*pair.root);
      ASSERT_FALSE(received.messages.empty());
      messages.insert(messages.end(), received.messages.begin(), received.messages.end());
    }
    EXPECT_EQ(messages[0].kind, WatchKind::hello);
    EXPECT_EQ(messages[0].rank, 7);
    EXPECT_EQ(messages[0].token, 0x123456789abcdefULL);
    EXPECT_EQ(messages[0].sign.unit, "step");
    EXPECT_EQ(messages[0].sign.operation, "");
    EXPECT_EQ(messages[1].sign.collective, 12u);
    EXPECT_EQ(messages[1].sign.place, 41u);
    EXPECT_EQ(messages[1].sign.unit, "a unit of a len");
    EXPECT_EQ(messages[1].sign.operation, "an operation with a name that i");
    EXPECT_EQ(messages[1].sign.processor, milliseconds(5));
    pair.root->send({WatchKind::end, 0, 0, {}});
    EXPECT_EQ(wait_for(pair.rank).messages.at(0).kind, WatchKind::end);
  }
}

TEST(WatchLink, ABrokenConnectionIsSeenWithWhatCameBefore) {
  Pair pair;
  ASSERT_TRUE(pair.root);
  pair.rank.send({WatchKind::goodbye, 1, 0, {}});
  pair.rank.close();
  WatchSocket::Received received = wait_for(*pair.root);
  ASSERT_EQ(received.messages.size(), 1u);
  EXPECT_EQ(received.messages[0].kind, WatchKind::goodbye);
  if (!received.broken) received = wait_for(*pair.root);
  EXPECT_TRUE(received.broken);
}

TEST(WatchLink, APeerThatReadsNothingBlocksNobody) {
  Pair pair;
  ASSERT_TRUE(pair.root);
  for (int i = 0; i < 200'000; ++i)
    pair.rank.send({WatchKind::sign, 1, 0, {static_cast<std::uint64_t>(i), 0, "step", "", {}}});
  // What it finds when it reads again are whole messages in their order.
  std::uint64_t last = 0, count = 0;
  for (auto received = wait_for(*pair.root); !received.messages.empty();
       received = pair.root->receive())
    for (const WatchMessage& message : received.messages) {
      ASSERT_TRUE(count == 0 || message.sign.collective > last);
      last = message.sign.collective;
      ++count;
    }
  EXPECT_GT(count, 10u);
}

TEST(WatchLink, NobodyListensIsNoConnection) {
  std::string address;
  {
    const WatchListener gone(WatchReach::this_host);
    address = gone.address();
  }
  EXPECT_FALSE(connect_to(address, milliseconds(200)).open());
  EXPECT_FALSE(connect_to("no address", milliseconds(200)).open());
  EXPECT_FALSE(connect_to("not.an.address:1", milliseconds(200)).open());
}

}  // namespace
}  // namespace retort::comm
