#include "comm/watch_judge.h"

#include <algorithm>

#include <fmt/format.h>

namespace retort::comm {
namespace {

using std::chrono::milliseconds;

milliseconds since(WatchClock::time_point then, WatchClock::time_point now) {
  return std::chrono::duration_cast<milliseconds>(now - then);
}

double seconds(milliseconds time) { return std::chrono::duration<double>(time).count(); }

/// "in all_reduce, collective 812, at step 41"
std::string place_of(const RankSign& sign) {
  std::string place = sign.operation.empty()
                          ? fmt::format("before collective {}", sign.collective)
                          : fmt::format("in {}, collective {}", sign.operation, sign.collective);
  if (!sign.unit.empty()) place += fmt::format(", at {} {}", sign.unit, sign.place);
  return place;
}

LostRank lost(std::span<const RankView> ranks, std::size_t rank, const std::string& what) {
  return {static_cast<int>(rank),
          fmt::format("rank {} on host {} {}; the job ends; the last checkpoint is intact, start "
                      "again",
                      rank, ranks[rank].host, what)};
}

LostRank silent(std::span<const RankView> ranks, std::size_t rank, WatchClock::time_point now) {
  return lost(ranks, rank,
              fmt::format("has been silent for {:.1f} s; last seen {}",
                          seconds(since(ranks[rank].heard, now)), place_of(ranks[rank].sign)));
}

bool present(const RankView& rank) { return rank.watched && !rank.left && !rank.gone; }

/// The rank that the others wait for; none if nobody has waited for `limit`.
std::optional<std::size_t> waited_for(std::span<const RankView> ranks, milliseconds limit,
                                      WatchClock::time_point now) {
  if (ranks.size() < 2) return std::nullopt;  // seen by a rank that knows rank 0 alone
  bool waiting = false;
  std::optional<std::size_t> latest;
  const auto before = [&](std::size_t a, std::size_t b) {  // a is further behind than b
    const bool inside_a = !ranks[a].sign.operation.empty();
    const bool inside_b = !ranks[b].sign.operation.empty();
    if (inside_a != inside_b) return inside_b;
    return ranks[a].sign.collective < ranks[b].sign.collective;
  };
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (!present(ranks[i])) continue;
    if (since(ranks[i].changed, now) < limit) return std::nullopt;  // it got on
    waiting |= !ranks[i].sign.operation.empty();
    if (!latest || before(i, *latest)) latest = i;
  }
  return waiting ? latest : std::nullopt;
}

bool computes(const RankView& rank, WatchClock::time_point now) {
  const milliseconds used = rank.sign.processor - rank.processor_at_change;
  return used > since(rank.changed, now) / 5;
}

}  // namespace

void hear(RankView& rank, RankSign sign, WatchClock::time_point now) {
  const RankSign& before = rank.sign;
  if (sign.collective != before.collective || sign.place != before.place ||
      sign.operation != before.operation) {
    rank.changed = now;
    rank.processor_at_change = sign.processor;
  }
  rank.sign = std::move(sign);
  rank.heard = now;
}

std::optional<LostRank> find_lost(std::span<const RankView> ranks, milliseconds limit,
                                  WatchClock::time_point now) {
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    const RankView& rank = ranks[i];
    if (rank.watched && rank.gone && since(*rank.gone, now) >= kGoneGrace)
      return lost(ranks, i, "has died " + place_of(rank.sign));
  }
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    if (present(ranks[i]) && since(ranks[i].heard, now) >= limit) return silent(ranks, i, now);
  }
  const auto late = waited_for(ranks, limit, now);
  if (!late) return std::nullopt;
  const RankView& rank = ranks[*late];
  // Both limits run out together for one that stands still; its silence tells more.
  if (since(rank.heard, now) >= limit / 2) return silent(ranks, *late, now);
  const milliseconds still = since(rank.changed, now);
  const bool inside = !rank.sign.operation.empty();
  if (!inside && computes(rank, now) && still < kComputing * limit) return std::nullopt;
  const std::string what =
      inside ? fmt::format("waits {} for {:.1f} s, and so do all others", place_of(rank.sign),
                           seconds(still))
             : fmt::format("keeps the others waiting: it has got no further for {:.1f} s, {}",
                           seconds(still), place_of(rank.sign));
  return lost(ranks, *late, what);
}

}  // namespace retort::comm
