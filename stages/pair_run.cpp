#include "stages/pair_run.h"

#include <algorithm>
#include <atomic>
#include <span>
#include <utility>

namespace retort::stages {
namespace {

using comm::PeerTransfer;
using nn::ClassTile;
using nn::SimilarRows;

void send(std::vector<PeerTransfer>& transfers, int rank, std::span<const std::byte> bytes) {
  if (!bytes.empty()) transfers.push_back({rank, bytes, {}});
}

}  // namespace

PairRun::PairRun(const Setup& setup, std::vector<ClassTile> own, std::vector<SimilarRows> rows,
                 TilePairs done)
    : communicator_(setup.communicator),
      workers_(setup.workers),
      split_(setup.split),
      schedule_(setup.schedule),
      options_(setup.options),
      others_(setup.others),
      mine_(split_.tiles_of(communicator_.rank(), communicator_.size())),
      own_(std::move(own)),
      rows_(std::move(rows)),
      done_(std::move(done)),
      places_(split_, options_, others_, setup.precision) {
  // A rank without a tile of its own must know it as well.
  features_ = communicator_.all_reduce_max(own_.empty() ? 0 : own_.front().features);
  if (rows_.empty())
    for (const ClassTile& tile : own_) rows_.emplace_back(tile.classes, others_);
  for (std::size_t i = 0; i < own_.size(); ++i) places_.add(mine_.begin + i, own_[i], rows_[i]);
}

std::optional<Meeting> PairRun::meeting(int rank, int step) const {
  return meeting_of(schedule_, split_, rank, communicator_.size(), step);
}

// The same answer on every rank.
bool PairRun::needed(int step) const {
  for (int rank = 0; rank < communicator_.size(); ++rank)
    if (const auto met = meeting(rank, step))
      for (std::uint64_t wave = 0; wave < met->waves(); ++wave)
        for (const TilePair& pair : met->wave(wave))
          if (!done_.contains(pair)) return true;
  return false;
}

bool PairRun::begin_step() {
  const int steps = meeting_steps(schedule_, communicator_.size());
  const auto next_needed = [&](int step) {
    while (step < steps && !needed(step)) ++step;
    return step;
  };
  step_ = next_needed(step_ + 1);
  if (step_ == steps) return false;
  if (fetched_ != step_) begin_fetch(step_);
  fetch_.wait();
  for (const auto& [id, tile] : visiting_) places_.remove(id);
  visiting_ = std::exchange(coming_, {});
  found_.clear();
  for (const auto& [id, tile] : visiting_)
    places_.add(id, tile, found_.emplace(id, SimilarRows(tile.classes, others_)).first->second);
  places_.prepare(workers_);
  wave_ = waves_ = 0;
  for (int rank = 0; rank < communicator_.size(); ++rank)
    if (const auto met = meeting(rank, step_)) waves_ = std::max(waves_, met->waves());
  if (const int next = next_needed(step_ + 1); next < steps) begin_fetch(next);
  return true;
}

bool PairRun::advance() {
  const std::uint64_t before = done_.count();
  while (done_.count() == before) {
    if (wave_ == waves_) {
      settle();
      if (!begin_step()) return false;
    }
    for (int rank = 0; rank < communicator_.size(); ++rank) {
      const auto met = meeting(rank, step_);
      if (!met || wave_ >= met->waves()) continue;
      PairWave wave = met->wave(wave_);
      std::erase_if(wave, [&](const TilePair& pair) { return done_.contains(pair); });
      if (rank == communicator_.rank()) work(wave);
      for (const TilePair& pair : wave) done_.insert(pair);
    }
    ++wave_;
  }
  settled_ = false;
  return true;
}

void PairRun::work(const PairWave& wave) {
  std::atomic<std::uint64_t> next{0};
  workers_.run([&](int) {
    for (std::uint64_t at; (at = next++) < wave.size();) {
      const auto [i, j] = wave[at];
      places_.meet(i, j);
    }
  });
  counts_.tile_pairs += wave.size();
}

/// Tiles of `owner` that come to `rank` for a step.
std::vector<std::uint64_t> PairRun::visitors(int rank, int step, int owner) const {
  std::vector<std::uint64_t> tiles;
  const auto met = meeting(rank, step);
  if (!met || rank == owner) return tiles;
  const core::Range there = split_.tiles_of(owner, communicator_.size());
  for (const core::Range& side : {met->left, met->right}) {
    const std::uint64_t end = std::min(side.end, there.end);
    for (std::uint64_t t = std::max(side.begin, there.begin); t < end; ++t) tiles.push_back(t);
    if (met->left == met->right) break;
  }
  return tiles;
}

void PairRun::begin_fetch(int step) {
  std::vector<PeerTransfer> transfers;
  const int self = communicator_.rank();
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    for (const std::uint64_t t : visitors(rank, step, self)) {
      const ClassTile& tile = own_[t - mine_.begin];
      send(transfers, rank, std::as_bytes(std::span(tile.weight)));
      send(transfers, rank, std::as_bytes(std::span(tile.norm)));
      send(transfers, rank, std::as_bytes(std::span(tile.degenerate)));
    }
    for (const std::uint64_t t : visitors(self, step, rank)) {
      ClassTile& tile = coming_[t];
      tile.classes = split_.tile(t);
      tile.features = features_;
      tile.weight.resize(tile.features * tile.size());
      tile.norm.resize(tile.size());
      tile.degenerate.resize(tile.size());
      receive(transfers, rank, std::as_writable_bytes(std::span(tile.weight)));
      receive(transfers, rank, std::as_writable_bytes(std::span(tile.norm)));
      receive(transfers, rank, std::as_writable_bytes(std::span(tile.degenerate)));
    }
  }
  fetched_ = step;
  fetch_ = communicator_.exchange(std::move(transfers));
}

void PairRun::settle() {
  if (settled_) return;
  settled_ = true;
  places_.resolve(workers_);
  const int self = communicator_.rank();
  std::vector<std::pair<std::uint64_t, SimilarRows>> coming;
  std::vector<PeerTransfer> transfers;
  for (int rank = 0; rank < communicator_.size(); ++rank) {
    for (const std::uint64_t t : visitors(self, step_, rank))
      for (const auto& bytes : found_.at(t).storage()) send(transfers, rank, bytes);
    for (const std::uint64_t t : visitors(rank, step_, self)) {
      auto& [tile, rows] = coming.emplace_back(t, SimilarRows(split_.tile(t), others_));
      for (const auto& bytes : rows.storage()) receive(transfers, rank, bytes);
    }
  }
  communicator_.exchange(std::move(transfers)).wait();
  for (auto& [tile, rows] : coming) {
    rows.restore();
    rows_[tile - mine_.begin].merge(rows);
  }
  for (auto& [tile, rows] : found_) rows = SimilarRows(rows.classes(), others_);
}

void PairRun::receive(std::vector<PeerTransfer>& transfers, int rank, std::span<std::byte> bytes) {
  if (bytes.empty()) return;
  transfers.push_back({rank, {}, bytes});
  counts_.bytes_received += bytes.size();
  ++counts_.messages_received;
}

}  // namespace retort::stages
