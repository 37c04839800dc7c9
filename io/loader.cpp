#include "io/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "core/error.h"
#include "io/micro_batch.h"

namespace retort::io {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// What one micro-batch is made of.
struct Task {
  std::uint64_t epoch = 0;
  core::Range positions;
  std::uint32_t shard = 0;
  std::uint64_t unlabelled_epoch = 0;
  core::Range unlabelled;
};

/// The micro-batches of a rank, one after another.
class TaskSequence {
 public:
  TaskSequence(const BatchPlan& plan, core::Range shards, std::uint64_t first, std::uint64_t last)
      : plan_(plan), shards_(shards), step_(first), last_(last), shard_(shards.begin) {}

  std::optional<Task> next() {
    for (; step_ < last_; ++step_, shard_ = shards_.begin) {
      const BatchPlan::Step step = plan_.step(step_);
      if (shard_ >= std::min<std::uint64_t>(shards_.end, step.active)) continue;
      const auto shard = static_cast<std::uint32_t>(shard_++);
      return Task{step.epoch, plan_.shard(step, shard), shard, step.unlabelled_epoch,
                  plan_.unlabelled_shard(step, shard)};
    }
    return std::nullopt;
  }

 private:
  BatchPlan plan_;
  core::Range shards_;
  std::uint64_t step_, last_, shard_;
};

/// A set with what all threads share of it.
struct Source {
  Source(const PackedDataset& d, LoaderOptions o)
      : data(d), options(std::move(o)), cache(make_raw_cache(data, options)) {}
  const PackedDataset& data;
  const LoaderOptions options;
  const std::unique_ptr<RawCache> cache;  // may be none
};

/// One thread's means to make micro-batches.
class TaskFiller {
 public:
  TaskFiller(const Source& labelled, const std::optional<Source>& unlabelled)
      : labelled_(labelled.data, labelled.options, labelled.cache.get()) {
    if (unlabelled)
      unlabelled_.emplace(unlabelled->data, unlabelled->options, unlabelled->cache.get());
  }
  void fill(MicroBatch& batch, const Task& task) {
    labelled_.fill(batch, task.epoch, task.positions, task.shard);
    if (unlabelled_) unlabelled_->append_unlabelled(batch, task.unlabelled_epoch, task.unlabelled);
  }

 private:
  MicroBatchFiller labelled_;
  std::optional<MicroBatchFiller> unlabelled_;
};

void require_alike(const DatasetFacts& a, const DatasetFacts& b) {
  const auto kind = [](const DatasetFacts& facts) {
    return facts.form == SampleForm::text
               ? std::string("texts")
               : "pictures of " + std::to_string(facts.height) + "x" + std::to_string(facts.width) +
                     "x" + std::to_string(facts.channels);
  };
  if (kind(a) != kind(b))
    throw core::DataError("the labelled samples are " + kind(a) + ", the unlabelled ones " +
                          kind(b) + ": pack them alike");
}

/// A prepared micro-batch, or why there is none.
struct Slot {
  bool ready = false;
  MicroBatch batch;
  std::exception_ptr error;
};

}  // namespace

struct Loader::State {
  State(const PackedDataset& data, const BatchPlan& plan, LoaderOptions options, core::Range shards,
        std::uint64_t first, std::uint64_t last)
      : labelled(data, std::move(options)), tasks(plan, shards, first, last) {}

  void work();
  MicroBatch take_buffer() {  // holds the lock
    if (free.empty()) return {};
    MicroBatch batch = std::move(free.back());
    free.pop_back();
    return batch;
  }

  const Source labelled;
  std::optional<Source> unlabelled;
  std::optional<TaskFiller> filler;  // of the caller's thread, where there are no others

  std::mutex mutex;
  std::condition_variable room, ready;
  TaskSequence tasks;
  bool stop = false;
  bool exhausted = false;
  std::uint64_t claimed = 0, taken = 0;  // micro-batches so far
  std::vector<Slot> slots;               // ring: micro-batch i in slots[i % size]
  std::vector<MicroBatch> free;
  std::exception_ptr failure;
  double waited = 0;
  std::vector<std::jthread> threads;  // last: joined before the rest goes
};

void Loader::State::work() {
  std::optional<TaskFiller> own;
  while (true) {
    std::optional<Task> task;
    std::uint64_t index = 0;
    MicroBatch batch;
    {
      std::unique_lock lock(mutex);
      room.wait(lock, [this] { return stop || exhausted || claimed - taken < slots.size(); });
      if (stop || exhausted) return;
      task = tasks.next();
      if (!task) {
        exhausted = true;
        room.notify_all();
        ready.notify_all();
        return;
      }
      index = claimed++;
      batch = take_buffer();
    }
    std::exception_ptr error;
    try {
      if (!own) own.emplace(labelled, unlabelled);
      own->fill(batch, *task);
    } catch (...) {
      error = std::current_exception();
    }
    const std::lock_guard lock(mutex);
    Slot& slot = slots[index % slots.size()];
    slot = {true, std::move(batch), error};
    if (error) {
      exhausted = true;  // what comes behind an error is never handed out
      room.notify_all();
    }
    ready.notify_one();
  }
}

Loader::Loader(const PackedDataset& data, const BatchPlan& plan, LoaderOptions options,
               core::Range shards, std::uint64_t first_step, std::uint64_t last_step,
               std::optional<UnlabelledRows> unlabelled)
    : state_(
          std::make_unique<State>(data, plan, std::move(options), shards, first_step, last_step)) {
  State& s = *state_;
  const LoaderOptions& own = s.labelled.options;
  if (own.threads < 0)
    throw core::UsageError("loader: " + std::to_string(own.threads) +
                           " threads; give 0 (the caller's) or more");
  if ((plan.unlabelled_batch() > 0) != unlabelled.has_value())
    throw core::InternalError("loader: plan and data sets disagree on unlabelled rows");
  if (unlabelled) {
    require_alike(data.facts(), unlabelled->data->facts());
    s.unlabelled.emplace(*unlabelled->data, std::move(unlabelled->options));
  }
  if (own.threads == 0) {
    s.filler.emplace(s.labelled, s.unlabelled);
    return;
  }
  s.slots.resize(static_cast<std::size_t>(std::max({own.depth, own.threads, 1})));
  for (int i = 0; i < own.threads; ++i) s.threads.emplace_back([&s] { s.work(); });
}

Loader::~Loader() {
  if (!state_) return;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->room.notify_all();
}

std::optional<MicroBatch> Loader::next() {
  State& s = *state_;
  if (s.failure) std::rethrow_exception(s.failure);
  const Clock::time_point begin = Clock::now();
  if (s.threads.empty()) {
    MicroBatch batch;
    {
      const std::lock_guard lock(s.mutex);
      batch = s.take_buffer();
    }
    const std::optional<Task> task = s.tasks.next();
    if (!task) return std::nullopt;
    try {
      s.filler->fill(batch, *task);
    } catch (...) {
      s.failure = std::current_exception();
      throw;
    }
    s.waited += seconds_since(begin);
    return batch;
  }
  std::unique_lock lock(s.mutex);
  Slot& slot = s.slots[s.taken % s.slots.size()];
  s.ready.wait(lock, [&] { return slot.ready || (s.exhausted && s.taken == s.claimed); });
  s.waited += seconds_since(begin);
  if (!slot.ready) return std::nullopt;
  if (slot.error) {
    s.failure = slot.error;
    std::rethrow_exception(s.failure);
  }
  MicroBatch batch = std::move(slot.batch);
  slot.ready = false;
  ++s.taken;
  lock.unlock();
  s.room.notify_one();
  return batch;
}

void Loader::recycle(MicroBatch batch) {
  const std::lock_guard lock(state_->mutex);
  // Not more than can be under way: a caller that gives back foreign batches must not grow us.
  if (state_->free.size() < state_->slots.size() + 4) state_->free.push_back(std::move(batch));
}

double Loader::waited() const { return state_->waited; }

}  // namespace retort::io
