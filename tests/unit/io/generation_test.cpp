#include "io/generation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::io {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> names(const Chain& chain) {
  std::vector<std::string> out;
  for (const GenerationEntry& entry : chain) {
    out.push_back(std::to_string(entry.id.step) + "/" + std::to_string(entry.id.epoch) +
                  (entry.set_aside ? "!" : ""));
  }
  return out;
}

RunContents contents(std::vector<GenerationEntry> generations, std::vector<Claim> claims) {
  RunContents out;
  out.generations = std::move(generations);
  out.claims = std::move(claims);
  for (const auto& entry : out.generations) {
    out.newest_epoch = std::max(out.newest_epoch, entry.id.epoch);
  }
  for (const auto& claim : out.claims) out.newest_epoch = std::max(out.newest_epoch, claim.epoch);
  return out;
}

GenerationEntry at(std::uint64_t step, std::uint32_t epoch) { return {{step, epoch}, false}; }

TEST(Generation, NamesAreExact) {
  EXPECT_EQ(name_of(GenerationId{120, 2}), "gen-0000000120-e0002");
  EXPECT_EQ(generation_id("gen-0000000120-e0002"), (GenerationId{120, 2}));
  EXPECT_EQ(generation_id(name_of({123456789012, 12345})), (GenerationId{123456789012, 12345}));
  for (const std::string name : {"gen-120-e0002", "gen-0000000120-e2", "gen-0000000120-e0002.bad",
                                 "gen--e", "gen-", "gen-00000001x0-e0002", "xgen-0000000120-e0002",
                                 "gen-0000000120-e0002 ", "gen-0000000120-e99999999999"}) {
    EXPECT_EQ(generation_id(name), std::nullopt) << name;
  }
  EXPECT_EQ(claim_name(3), "epoch-0003");
  EXPECT_EQ(claim_epoch("epoch-0003"), 3u);
  EXPECT_EQ(claim_epoch("epoch-12345"), 12345u);
  for (const std::string name : {"epoch-3", "epoch-0000", "epoch-", "epoch-0003.tmp", "new-x-1"}) {
    EXPECT_EQ(claim_epoch(name), std::nullopt) << name;
  }
}

TEST(Chain, AFreshRunHasNone) {
  EXPECT_THAT(names(chain_of(contents({}, {}))), IsEmpty());
  EXPECT_THAT(names(chain_of(contents({}, {{1, {}}}))), IsEmpty());
  EXPECT_FALSE(all_lost({}));
}

TEST(Chain, OneStartGivesItsGenerationsNewestFirst) {
  EXPECT_THAT(names(chain_of(contents({at(10, 1), at(30, 1), at(20, 1)}, {{1, {}}}))),
              ElementsAre("30/1", "20/1", "10/1"));
}

TEST(Chain, FollowsWhatEachStartResumedFrom) {
  const Chain chain = chain_of(contents(
      {at(10, 1), at(20, 1), at(25, 2), at(30, 2), at(40, 4)},
      {{1, {}}, {2, GenerationId{20, 1}}, {3, GenerationId{30, 2}}, {4, GenerationId{30, 2}}}));
  EXPECT_THAT(names(chain), ElementsAre("40/4", "30/2", "25/2", "20/1", "10/1"));
}

TEST(Chain, ALateCommitOfAnOlderStartIsOnNoChain) {
  // Epoch 2 resumed from 20; epoch 1, not yet dead, then committed 30 and 50.
  const std::vector<Claim> claims = {{1, {}}, {2, GenerationId{20, 1}}};
  EXPECT_THAT(names(chain_of(contents({at(10, 1), at(20, 1), at(30, 1), at(50, 1)}, claims))),
              ElementsAre("20/1", "10/1"));
  EXPECT_THAT(names(chain_of(contents({at(20, 1), at(30, 1), at(50, 1), at(25, 2)}, claims))),
              ElementsAre("25/2", "20/1"));
  // Also two starts later, when epoch 2 never committed.
  EXPECT_THAT(
      names(chain_of(contents({at(20, 1), at(50, 1), at(24, 3)},
                              {{1, {}}, {2, GenerationId{20, 1}}, {3, GenerationId{20, 1}}}))),
      ElementsAre("24/3", "20/1"));
}

TEST(Chain, ALateCommitAfterAFreshStartIsOnNoChain) {
  // Epoch 2 began anew before epoch 1 had committed anything.
  const Chain chain = chain_of(contents({at(10, 1)}, {{1, {}}, {2, {}}}));
  EXPECT_THAT(names(chain), IsEmpty());
}

TEST(Chain, AStartThatFellBackDropsWhatItSkipped) {
  // 30/1 was bad when epoch 2 resumed from 20/1; restored later, it stays off the chain.
  EXPECT_THAT(
      names(chain_of(contents({at(20, 1), at(30, 1)}, {{1, {}}, {2, GenerationId{20, 1}}}))),
      ElementsAre("20/1"));
}

TEST(Chain, SetAsideGenerationsAreStillKnown) {
  const Chain chain =
      chain_of(contents({{{20, 1}, true}, at(10, 1)}, {{1, {}}, {2, GenerationId{20, 1}}}));
  EXPECT_THAT(names(chain), ElementsAre("20/1!", "10/1"));
}

TEST(Chain, GoesByAMissingClaim) {
  EXPECT_THAT(names(chain_of(contents({at(10, 1), at(20, 2)}, {{1, {}}}))),
              ElementsAre("20/2", "10/1"));
  EXPECT_THAT(names(chain_of(
                  contents({at(5, 1), at(20, 2), at(30, 3)}, {{1, {}}, {3, GenerationId{20, 2}}}))),
              ElementsAre("30/3", "20/2", "5/1"));
  // The newest, which wrote nothing, and with no claim at all.
  auto damaged = contents({at(10, 1), at(20, 2)}, {{1, {}}, {2, GenerationId{10, 1}}});
  damaged.newest_epoch = 3;
  EXPECT_THAT(names(chain_of(damaged)), ElementsAre("20/2", "10/1"));
  EXPECT_THAT(names(chain_of(contents({at(10, 1), at(20, 4)}, {}))), ElementsAre("20/4", "10/1"));
}

TEST(Chain, AMissingClaimLetsInNothingThatItsStartCannotHaveSeen) {
  // Start 2 resumed from a step up to its own first: 25 of start 1 was late.
  EXPECT_THAT(names(chain_of(contents({at(10, 1), at(25, 1), at(20, 2), at(30, 2)}, {{1, {}}}))),
              ElementsAre("30/2", "20/2", "10/1"));
  // Start 3 resumed from 20 of start 2, whose generations have gone.
  EXPECT_THAT(names(chain_of(contents({at(15, 1), at(25, 1), at(40, 3)},
                                      {{1, {}}, {3, GenerationId{20, 2}}}))),
              ElementsAre("40/3", "15/1"));
}

}  // namespace
}  // namespace retort::io
