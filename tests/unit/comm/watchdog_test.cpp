#include "comm/watchdog.h"

#include <chrono>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::comm {
namespace {

constexpr std::chrono::milliseconds kLimit{20000};  // beats every second: nothing is told between
constexpr std::uint64_t kToken = 7;

class RootWatchdogTest : public ::testing::Test {
 protected:
  RootWatchdogTest() {
    auto listener = std::make_unique<WatchListener>(WatchReach::this_host);
    address_ = listener->address();
    watchdog_ = std::make_unique<Watchdog>(
        Watchdog::Job{0, {"here", "there"}, kLimit, address_, kToken}, std::move(listener),
        activity_, [](const std::string& why) { ADD_FAILURE() << why; });
  }

  // What lies there already: nothing is waited for.
  static std::vector<WatchKind> kinds(WatchSocket& socket) {
    std::vector<WatchKind> kinds;
    for (const WatchMessage& message : socket.receive().messages) kinds.push_back(message.kind);
    return kinds;
  }

  std::string address_;
  Activity activity_;
  std::unique_ptr<Watchdog> watchdog_;
};

TEST_F(RootWatchdogTest, GoodbyeHasBeenToldWhenItReturns) {
  WatchSocket rank_1 = connect_to(address_, std::chrono::seconds(1));
  ASSERT_TRUE(rank_1.open());
  rank_1.send({WatchKind::hello, 1, kToken, {}});
  watchdog_->say_goodbye();
  EXPECT_THAT(kinds(rank_1), ::testing::Contains(WatchKind::goodbye));
}

TEST_F(RootWatchdogTest, ARankThatHasOnlyConnectedHearsGoodbye) {
  WatchSocket rank_1 = connect_to(address_, std::chrono::seconds(1));
  ASSERT_TRUE(rank_1.open());
  watchdog_->say_goodbye();
  EXPECT_THAT(kinds(rank_1), ::testing::Contains(WatchKind::goodbye));
}

TEST_F(RootWatchdogTest, GoodbyeTwiceIsGoodbye) {
  watchdog_->say_goodbye();
  watchdog_->say_goodbye();
}

}  // namespace
}  // namespace retort::comm
