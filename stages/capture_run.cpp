#include "stages/capture_run.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include <fmt/format.h>

#include "core/clock.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stop.h"
#include "io/agreement.h"
#include "stages/section_output.h"
#include "stages/shard_writer.h"
#include "stages/sharded_capture.h"
#include "stages/workers.h"

namespace retort::stages {

namespace {

struct ShardName {
  std::uint64_t pass = 0;
  std::uint64_t index = 0;
};

/// The shards that are still to do, in order; the same list on every rank.
std::vector<ShardName> missing_shards(comm::Communicator& communicator, const io::LogitFacts& facts,
                                      const io::MemberLedger& ledger) {
  std::string there;  // one byte per shard
  const std::uint64_t count = io::logit_shard_count(facts);
  io::on_root(communicator, [&] {
    std::set<std::string> names;
    for (const io::Member& member : ledger.adopt()) names.insert(member.name);
    for (std::uint64_t i = 0; i < count * facts.passes; ++i)
      there += names.contains(io::logit_shard_name(i / count, i % count, io::part_of(facts))) ? '1'
                                                                                              : '0';
  });
  there = communicator.broadcast(there);
  std::vector<ShardName> missing;
  for (std::uint64_t i = 0; i < there.size(); ++i)
    if (there[i] == '0') missing.push_back({i / count, i % count});
  return missing;
}

/// Hands batches of claimed shards to the workers of this rank, and finished shards to the writer.
class ShardWork {
 public:
  ShardWork(comm::Communicator& communicator, const Capture& capture,
            std::vector<ShardName> missing, ShardWriter& writer, core::Progress& progress,
            std::uint64_t done_before)
      : communicator_(communicator),
        capture_(capture),
        missing_(std::move(missing)),
        writer_(writer),
        progress_(progress),
        progress_base_(done_before) {
    // Names of claims hold for the life of the job: this run gets one of its own.
    claim_ = "teach " + communicator.broadcast(
                            communicator.root() ? std::to_string(communicator.claim("teach")) : "");
  }

  /// One worker, until nothing is left or somebody failed.
  void work(PhaseTimes& times) {
    auto clock = PhaseClock::of_worker(times);
    try {
      while (const auto batch = next_batch()) {
        clock = PhaseClock::of_worker(times);  // a claim's way to rank 0 is no phase
        batch->shard->out.batches[batch->index] =
            capture_batch(capture_, batch->shard->out.pass, batch->samples, clock);
        finish(*batch);
        clock.mark(Phase::write);
      }
    } catch (...) {
      failed_ = true;
      throw;
    }
  }
  std::uint64_t computed_samples() const { return computed_samples_; }

 private:
  struct OpenShard {
    ShardWriter::Shard out;
    std::uint64_t next = 0;  // batch to hand out
    std::uint64_t batches = 0;
    std::atomic<std::uint64_t> left{0};  // batches not yet computed
  };
  struct Batch {
    std::shared_ptr<OpenShard> shard;
    std::uint64_t index = 0;
    core::Range samples;
  };

  std::optional<Batch> next_batch() {
    std::lock_guard lock(mutex_);
    if (failed_) return std::nullopt;
    if (core::stop_requested()) {
      // Takes what is left of the claims, so that no rank begins another shard.
      if (!exhausted_) communicator_.claim(claim_, missing_.size());
      exhausted_ = true;
      return std::nullopt;
    }
    if (!shard_ || shard_->next == shard_->batches) {
      if (exhausted_ || !open_next()) {
        exhausted_ = true;
        return std::nullopt;
      }
    }
    const std::uint64_t index = shard_->next++;
    return Batch{shard_, index, capture_.samples(shard_->out.samples, index)};
  }

  bool open_next() {
    const std::uint64_t number = communicator_.claim(claim_);
    if (number >= missing_.size()) return false;
    const ShardName name = missing_[number];
    communicator_.at("shard", name.index);
    auto shard = std::make_shared<OpenShard>();
    shard->out.pass = name.pass;
    shard->out.index = name.index;
    shard->out.samples = io::logit_shard_range(capture_.facts, name.index);
    shard->batches = capture_.batches(shard->out.samples);
    shard->out.batches.resize(shard->batches);
    shard->left = shard->batches;
    shard_ = std::move(shard);
    // What was claimed before this shard is done, or nearly so, by whichever rank.
    shown_ = std::max(shown_, progress_base_ + number * capture_.facts.shard_samples);
    return true;
  }

  void finish(const Batch& batch) {
    computed_samples_ += batch.samples.size();
    {
      std::lock_guard lock(mutex_);
      shown_ += batch.samples.size();
      progress_.update(std::min(shown_, capture_.facts.samples * capture_.facts.passes));
    }
    if (--batch.shard->left == 0) writer_.write(std::move(batch.shard->out));
  }

  comm::Communicator& communicator_;
  const Capture& capture_;
  const std::vector<ShardName> missing_;
  ShardWriter& writer_;
  core::Progress& progress_;
  const std::uint64_t progress_base_;
  std::string claim_;
  std::atomic<bool> failed_{false};
  std::atomic<std::uint64_t> computed_samples_{0};

  std::mutex mutex_;
  std::shared_ptr<OpenShard> shard_;
  bool exhausted_ = false;
  std::uint64_t shown_ = 0;
};

}  // namespace

namespace {

/// Of a teacher whose head is divided by classes: shard after shard, by all ranks together; they
/// are written by the ranks in turn.
class SharedWork {
 public:
  SharedWork(comm::Communicator& communicator, Workers& workers, const Capture& capture)
      : communicator_(communicator), capture_(capture), rows_(communicator, workers, capture) {}

  void work(const std::vector<ShardName>& missing, ShardWriter& writer, core::Progress& progress,
            std::uint64_t done_before, PhaseTimes& times) {
    std::uint64_t shown = done_before;
    for (std::size_t number = 0; number < missing.size(); ++number) {
      const ShardName name = missing[number];
      communicator_.at("shard", name.index);
      ShardWriter::Shard shard{.pass = name.pass,
                               .index = name.index,
                               .samples = io::logit_shard_range(capture_.facts, name.index),
                               .batches = {}};
      const std::uint64_t batches = capture_.batches(shard.samples);
      for (std::uint64_t first = 0; first < batches; first += rows_.together()) {
        if (communicator_.any(core::stop_requested())) return;
        std::vector<core::Range> together;
        for (std::uint64_t i = first; i < std::min(batches, first + rows_.together()); ++i) {
          together.push_back(capture_.samples(shard.samples, i));
          shown += together.back().size();
        }
        for (auto& rows : rows_.rows(name.pass, together, times))
          shard.batches.push_back(std::move(rows));
        progress.update(shown);
      }
      if (number % static_cast<std::size_t>(communicator_.size()) ==
          static_cast<std::size_t>(communicator_.rank()))
        writer.write(std::move(shard));
    }
  }
  std::uint64_t computed_samples() const { return rows_.computed_samples(); }

 private:
  comm::Communicator& communicator_;
  const Capture& capture_;
  ShardedCapture rows_;
};

}  // namespace

CaptureOutcome run_capture(StageContext& context, const Capture& capture,
                           io::MemberLedger& ledger) {
  comm::Communicator& communicator = context.communicator;
  const io::LogitFacts& facts = capture.facts;
  CaptureOutcome outcome;
  outcome.shards = io::logit_shard_count(facts) * facts.passes;
  const std::vector<ShardName> missing = missing_shards(communicator, facts, ledger);
  const std::uint64_t adopted = outcome.shards - missing.size();
  if (adopted > 0) core::log_info("{} of {} shards were complete already", adopted, outcome.shards);
  std::uint64_t todo = 0;
  for (const ShardName& shard : missing) todo += io::logit_shard_range(facts, shard.index).size();
  const std::uint64_t total = facts.samples * facts.passes;
  const std::uint64_t row_bytes = facts.layout.most_row_bytes();
  core::log_info("teach: {} {}rows of {}{} bytes, {:.1f} MB in {} shards", total,
                 io::part_of(facts) == io::LogitPart::unlabelled ? "unlabelled " : "",
                 facts.layout.ragged() ? "at most " : "", row_bytes,
                 static_cast<double>(total * row_bytes) / 1e6, outcome.shards);

  core::Progress progress("teach", total, "samples", total - todo);
  ShardWriter writer(ledger, facts);
  Workers workers(context.threads);
  core::stop_on_interrupt();
  PhaseTimes times(workers.count());
  std::uint64_t computed = 0;
  if (capture.teacher.head) {
    SharedWork work(communicator, workers, capture);
    work.work(missing, writer, progress, total - todo, times);
    computed = work.computed_samples();
  } else {
    ShardWork work(communicator, capture, missing, writer, progress, total - todo);
    workers.run([&](int) { work.work(times); });
    computed = work.computed_samples();
  }
  auto clock = PhaseClock::of_rank(times);
  writer.flush();
  clock.mark(Phase::write);

  outcome.computed_by_rank = communicator.all_gather(computed);
  outcome.shards_by_rank = communicator.all_gather(writer.written());
  outcome.complete = adopted;
  for (std::size_t rank = 0; rank < outcome.shards_by_rank.size(); ++rank) {
    outcome.computed_samples += outcome.computed_by_rank[rank];
    outcome.complete += outcome.shards_by_rank[rank];
    core::log_debug("rank {} computed {} shards, {} samples", rank, outcome.shards_by_rank[rank],
                    outcome.computed_by_rank[rank]);
  }
  outcome.stopped = outcome.complete < outcome.shards;
  outcome.time = gather_phase_times(communicator, times);
  if (!outcome.stopped) {
    progress.update(total);  // what the other ranks did since this one's last claim
    progress.finish();
  }
  return outcome;
}

CaptureRate measure_rate(StageContext& context, const Capture& capture) {
  constexpr double kSeconds = 2;
  const io::LogitFacts& facts = capture.facts;
  const std::uint64_t batches = (facts.samples + capture.batch - 1) / capture.batch;
  const auto ranks = static_cast<std::uint64_t>(context.communicator.size());
  const auto rank = static_cast<std::uint64_t>(context.communicator.rank());
  Workers workers(context.threads);
  std::atomic<std::uint64_t> next{rank}, computed{0}, bytes{0};
  PhaseTimes times(workers.count());
  if (capture.teacher.head) {
    ShardedCapture shared(context.communicator, workers, capture);
    const auto group = [&](std::uint64_t first) {
      std::vector<core::Range> together;
      for (std::uint64_t i = 0; i < std::min(shared.together(), batches); ++i) {
        const std::uint64_t begin = (first + i) % batches * capture.batch;
        together.push_back({begin, std::min(begin + capture.batch, facts.samples)});
      }
      std::uint64_t size = 0;
      for (const auto& rows : shared.rows(0, together, times)) size += rows.bytes.size();
      return size;
    };
    group(0);
    const std::uint64_t warm = context.communicator.all_reduce_sum(shared.computed_samples());
    const core::Stopwatch shared_watch;
    std::uint64_t size = 0;
    for (std::uint64_t first = 0; !context.communicator.any(shared_watch.seconds() > kSeconds);
         first += shared.together())
      size += group(first);
    const auto samples =
        static_cast<double>(context.communicator.all_reduce_sum(shared.computed_samples()) - warm);
    return {samples / shared_watch.seconds(), static_cast<double>(size) / samples};
  }
  const auto one_batch = [&] {
    auto clock = PhaseClock::of_worker(times);
    const std::uint64_t begin = next.fetch_add(ranks) % batches * capture.batch;
    const core::Range samples{begin, std::min(begin + capture.batch, facts.samples)};
    bytes += capture_batch(capture, 0, samples, clock).bytes.size();
    return samples.size();
  };
  workers.run([&](int) { one_batch(); });
  bytes = 0;
  const core::Stopwatch watch;
  workers.run([&](int) {
    do {
      computed += one_batch();
    } while (watch.seconds() < kSeconds);
  });
  const double rate = static_cast<double>(computed) / watch.seconds();
  // Sums of whole numbers only: thousandths of a sample per second.
  const auto total = [&](std::uint64_t value) {
    return static_cast<double>(context.communicator.all_reduce_sum(value));
  };
  return {total(static_cast<std::uint64_t>(rate * 1e3)) / 1e3, total(bytes) / total(computed)};
}

}  // namespace retort::stages
