#include "stages/training_checkpoints.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/stop.h"

namespace retort::stages {

TrainingCheckpoints::TrainingCheckpoints(comm::Communicator& communicator,
                                         const TrainingOptions& options, io::RunFolder& folder,
                                         TrainingEngine& engine, TrainingState& state)
    : communicator_(communicator),
      options_(options),
      folder_(folder),
      engine_(engine),
      state_(state),
      best_(state.best) {
  if (state.step > 0) written_step_ = state.step;
}

TrainingCheckpoints::Requests TrainingCheckpoints::agree() {
  auto clock = PhaseClock::of_rank(engine_.times());
  const bool due =
      communicator_.root() && options_.checkpoint_minutes > 0 &&
      Clock::now() - last_ >= std::chrono::duration<double>(60 * options_.checkpoint_minutes);
  // How many ranks say yes to each, in one message of three counts.
  constexpr unsigned kBits = 21;
  constexpr std::uint64_t kCount = (std::uint64_t{1} << kBits) - 1;
  std::uint64_t counts = core::stop_requested() ? 1 : 0;
  counts |= std::uint64_t{due ? 1U : 0U} << kBits;
  counts |= std::uint64_t{folder_.settled() ? 1U : 0U} << (2 * kBits);
  counts = communicator_.all_reduce_sum(counts);
  clock.mark(Phase::exchange);
  Requests requests;
  requests.stop = (counts & kCount) > 0;
  requests.checkpoint = ((counts >> kBits) & kCount) > 0;
  requests.settled = (counts >> (2 * kBits)) == static_cast<std::uint64_t>(communicator_.size());
  return requests;
}

TrainingCheckpoints::Next TrainingCheckpoints::boundary() {
  Requests requests = agree();
  if (options_.checkpoint_every > 0 && state_.step % options_.checkpoint_every == 0)
    requests.checkpoint = true;
  if (options_.keep_best && state_.best != best_) requests.checkpoint = true;
  best_ = state_.best;
  if (requests.stop) {
    commit();
    return Next::stop;
  }
  if (folder_.pending() && requests.settled) {
    auto clock = PhaseClock::of_rank(engine_.times());
    folder_.advance();
    clock.mark(Phase::checkpoint);
  }
  if (requests.checkpoint) begin();
  return Next::step;
}

io::Retention TrainingCheckpoints::retention() const {
  io::Retention retention{static_cast<int>(options_.keep)};
  if (options_.keep_best && state_.best >= 0)
    retention.best_step = state_.history[static_cast<std::size_t>(state_.best)].step;
  return retention;
}

void TrainingCheckpoints::begin() {
  if (options_.checkpoint_write == CheckpointWrite::at_once) return commit();
  engine_.settle(state_);
  auto clock = PhaseClock::of_rank(engine_.times());
  folder_.finish();  // generations that are due faster than the disk takes them
  if (written_step_ != state_.step)
    folder_.begin(state_.step, state_.to_json(),
                  state_.ranges(communicator_.rank(), communicator_.size()), retention());
  written_step_ = state_.step;
  last_ = Clock::now();
  clock.mark(Phase::checkpoint);
}

void TrainingCheckpoints::commit() {
  engine_.settle(state_);
  auto clock = PhaseClock::of_rank(engine_.times());
  folder_.finish();
  if (written_step_ != state_.step)
    folder_.commit(state_.step, state_.to_json(),
                   state_.ranges(communicator_.rank(), communicator_.size()), retention());
  written_step_ = state_.step;
  last_ = Clock::now();
  clock.mark(Phase::checkpoint);
}

io::StoredCheckpoint TrainingCheckpoints::commit_verified() {
  constexpr int kMost = 3;
  for (int attempt = 1; attempt <= kMost; ++attempt) {
    commit();
    if (auto stored = folder_.reopen()) return std::move(*stored);
    written_step_.reset();
  }
  throw core::DataError(fmt::format(
      "{}: the last generation was damaged {} times on its way to the disk: look after the disk, "
      "then start again",
      folder_.path().string(), kMost));
}

nlohmann::json TrainingCheckpoints::costs() {
  const io::CommitCosts& own = folder_.costs();
  const nlohmann::json report = {
      own.bytes, own.behind_seconds,
      engine_.times().seconds().of[static_cast<std::size_t>(Phase::checkpoint)]};
  std::uint64_t bytes = 0;
  double behind = 0, stall = 0;
  for (const std::string& text : communicator_.all_gather(report.dump())) {
    const auto rank = nlohmann::json::parse(text);
    bytes += rank[0].get<std::uint64_t>();
    behind = std::max(behind, rank[1].get<double>());
    stall = std::max(stall, rank[2].get<double>());
  }
  return {{"generations", own.generations},
          {"bytes", bytes},
          {"stall_seconds", stall},
          {"behind_seconds", behind}};
}

}  // namespace retort::stages
