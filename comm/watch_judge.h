// When is a rank lost? The rules of the watchdog, over what the ranks said of themselves: no clock,
// no sockets. Private to comm.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace retort::comm {

using WatchClock = std::chrono::steady_clock;

/// What a rank says of itself in a beat.
struct RankSign {
  std::uint64_t collective = 0;            // collectives it is through with
  std::uint64_t place = 0;                 // as told by Communicator::at: step 41, shard 7
  std::string unit;                        // "step", "shard"; empty: nothing was told yet
  std::string operation;                   // the collective it is inside, empty: it computes
  std::chrono::milliseconds processor{0};  // CPU time of its process so far
};

/// What the watching rank knows of one rank. Times are those of the watching rank.
struct RankView {
  std::string host;
  RankSign sign;
  WatchClock::time_point heard;    // the last sign
  WatchClock::time_point changed;  // the last sign with another collective, place or operation
  std::chrono::milliseconds processor_at_change{0};
  bool watched = true;                         // false: no connection was ever made
  bool left = false;                           // it said goodbye
  std::optional<WatchClock::time_point> gone;  // its connection broke without that
};

/// Takes in a sign that arrived at `now`.
void hear(RankView& rank, RankSign sign, WatchClock::time_point now);

struct LostRank {
  int rank = 0;
  std::string line;  // rank, host, collective, place, what happened, what to do
};

/// The first rank that is lost at `now`, if any:
/// - its connection broke, kGoneGrace ago (a launcher that ends the whole job is faster);
/// - it has said nothing for `limit`;
/// - others have been inside a collective for `limit` without it: the one with the lowest number of
///   collectives that is not inside one, or the lowest of all. A rank that computes meanwhile (more
///   than a fifth of a core) has kComputing times as long: long work of one rank is no hang.
std::optional<LostRank> find_lost(std::span<const RankView> ranks, std::chrono::milliseconds limit,
                                  WatchClock::time_point now);

inline constexpr std::chrono::milliseconds kGoneGrace{200};
inline constexpr int kComputing = 10;

}  // namespace retort::comm
