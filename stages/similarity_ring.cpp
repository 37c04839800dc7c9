#include "stages/similarity_ring.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "nn/similarity/tile_pair.h"

namespace retort::stages {
namespace {

using comm::PeerTransfer;
using nn::ClassTile;
using nn::SimilarRows;

class HalfRing {
 public:
  HalfRing(comm::Communicator& communicator, Workers& workers, const TileSplit& split,
           const std::vector<ClassTile>& own, const nn::SimilarityOptions& options,
           std::uint32_t others, const std::function<void(std::uint64_t)>& done, RingCounts& counts)
      : communicator_(communicator),
        workers_(workers),
        split_(split),
        own_(own),
        options_(options),
        others_(others),
        done_(done),
        counts_(counts) {
    rows_ = rows_of(own_);
  }

  std::vector<SimilarRows> run() {
    const int ranks = communicator_.size();
    // A rank without a tile of its own must know it as well.
    features_ = communicator_.all_reduce_max(own_.empty() ? 0 : own_.front().features);
    meet_own();
    for (int step = 1; 2 * step <= ranks; ++step) meet(step);
    return std::move(rows_);
  }

 private:
  /// Rows of these tiles that have seen nothing yet.
  std::vector<SimilarRows> rows_of(const std::vector<ClassTile>& tiles) const {
    std::vector<SimilarRows> rows;
    rows.reserve(tiles.size());
    for (const ClassTile& tile : tiles) rows.emplace_back(tile.classes, others_);
    return rows;
  }
  int to_the_right(int step) const { return (communicator_.rank() + step) % communicator_.size(); }
  int to_the_left(int step) const {
    return (communicator_.rank() + communicator_.size() - step) % communicator_.size();
  }

  void meet_own() {
    std::atomic<std::uint64_t> next{0};
    workers_.run([&](int) {
      for (std::uint64_t i; (i = next++) < own_.size();)
        nn::credit_pairs_within(own_[i], rows_[i], options_);
    });
    report(own_.size());
    for (const auto& wave : waves_within(own_.size())) work(wave, own_, rows_);
  }

  /// The pairs of a wave, side by side: i among the own tiles, j among `tiles`.
  void work(const PairWaves::value_type& wave, const std::vector<ClassTile>& tiles,
            std::vector<SimilarRows>& rows) {
    std::atomic<std::uint64_t> next{0};
    workers_.run([&](int) {
      for (std::uint64_t at; (at = next++) < wave.size();) {
        const auto [i, j] = wave[at];
        nn::credit_pairs(own_[i], rows_[i], tiles[j], rows[j], options_);
      }
    });
    report(wave.size());
  }

  void report(std::uint64_t pairs) {
    counts_.tile_pairs += pairs;
    done_(counts_.tile_pairs);
  }

  void meet(int step) {
    const int right = to_the_right(step), left = to_the_left(step);
    std::vector<ClassTile> visiting = exchange_columns(right, left);
    std::vector<SimilarRows> found = rows_of(visiting);
    for (auto& wave : waves_between(own_.size(), visiting.size())) {
      if (right == left) std::erase_if(wave, [&](const auto& pair) { return !is_mine(pair); });
      work(wave, visiting, found);
    }
    send_home(found, right, left);
  }

  /// Half way round both ranks meet the other's columns: each takes half of the pairs, by the ids
  /// of the tiles.
  bool is_mine(const std::pair<std::uint64_t, std::uint64_t>& pair) const {
    const bool lower = communicator_.rank() < communicator_.size() / 2;
    return ((pair.first + pair.second) % 2 == 0) == lower;
  }

  /// The columns of `right`, while those of this rank go to `left`.
  std::vector<ClassTile> exchange_columns(int right, int left) {
    std::vector<ClassTile> visiting;
    const core::Range tiles = split_.tiles_of(right, communicator_.size());
    for (std::uint64_t t = tiles.begin; t < tiles.end; ++t) {
      ClassTile& tile = visiting.emplace_back();
      tile.classes = split_.tile(t);
      tile.features = features_;
      tile.weight.resize(tile.features * tile.size());
      tile.norm.resize(tile.size());
      tile.degenerate.resize(tile.size());
    }
    std::vector<PeerTransfer> transfers;
    for (const ClassTile& tile : own_) {
      send(transfers, left, std::as_bytes(std::span(tile.weight)));
      send(transfers, left, std::as_bytes(std::span(tile.norm)));
      send(transfers, left, std::as_bytes(std::span(tile.degenerate)));
    }
    for (ClassTile& tile : visiting) {
      receive(transfers, right, std::as_writable_bytes(std::span(tile.weight)));
      receive(transfers, right, std::as_writable_bytes(std::span(tile.norm)));
      receive(transfers, right, std::as_writable_bytes(std::span(tile.degenerate)));
    }
    communicator_.exchange(std::move(transfers)).wait();
    return visiting;
  }

  /// What was found for the classes of `right` goes there; what `left` found comes.
  void send_home(std::vector<SimilarRows>& found, int right, int left) {
    std::vector<SimilarRows> coming = rows_of(own_);
    std::vector<PeerTransfer> transfers;
    for (SimilarRows& rows : found)
      for (const auto& bytes : rows.storage()) send(transfers, right, bytes);
    for (SimilarRows& rows : coming)
      for (const auto& bytes : rows.storage()) receive(transfers, left, bytes);
    communicator_.exchange(std::move(transfers)).wait();
    for (std::size_t i = 0; i < coming.size(); ++i) {
      coming[i].restore();
      rows_[i].merge(coming[i]);
    }
  }

  static void send(std::vector<PeerTransfer>& transfers, int rank,
                   std::span<const std::byte> bytes) {
    transfers.push_back({rank, bytes, {}});
  }
  void receive(std::vector<PeerTransfer>& transfers, int rank, std::span<std::byte> bytes) {
    transfers.push_back({rank, {}, bytes});
    counts_.bytes_received += bytes.size();
    ++counts_.messages_received;
  }

  comm::Communicator& communicator_;
  Workers& workers_;
  const TileSplit& split_;
  const std::vector<ClassTile>& own_;
  const nn::SimilarityOptions& options_;
  std::uint32_t others_;
  const std::function<void(std::uint64_t)>& done_;
  RingCounts& counts_;
  std::vector<SimilarRows> rows_;
  std::uint64_t features_ = 0;
};

}  // namespace

PairWaves waves_within(std::uint64_t n) {
  // Everybody plays everybody: one stays, the others go round.
  const std::uint64_t even = n + n % 2;
  PairWaves waves;
  for (std::uint64_t wave = 0; wave + 1 < even; ++wave) {
    auto& pairs = waves.emplace_back();
    for (std::uint64_t k = 0; k < even / 2; ++k) {
      const auto seat = [&](std::uint64_t s) {
        return s == 0 ? 0 : 1 + (s - 1 + wave) % (even - 1);
      };
      const std::pair<std::uint64_t, std::uint64_t> pair = std::minmax(seat(k), seat(even - 1 - k));
      if (pair.second < n) pairs.push_back(pair);
    }
  }
  return waves;
}

PairWaves waves_between(std::uint64_t a, std::uint64_t b) {
  PairWaves waves;
  const std::uint64_t more = std::max(a, b), fewer = std::min(a, b);
  for (std::uint64_t wave = 0; fewer > 0 && wave < more; ++wave) {
    auto& pairs = waves.emplace_back();
    for (std::uint64_t k = 0; k < fewer; ++k) {
      const std::uint64_t other = (k + wave) % more;
      pairs.emplace_back(a <= b ? k : other, a <= b ? other : k);
    }
  }
  return waves;
}

std::vector<SimilarRows> meet_all(comm::Communicator& communicator, Workers& workers,
                                  const TileSplit& split, const std::vector<ClassTile>& own,
                                  const nn::SimilarityOptions& options, std::uint32_t others,
                                  const std::function<void(std::uint64_t)>& done,
                                  RingCounts& counts) {
  return HalfRing(communicator, workers, split, own, options, others, done, counts).run();
}

}  // namespace retort::stages
