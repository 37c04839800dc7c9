// Loader: which samples make up step t, in which micro-shards, and their pixels or ids. Order,
// membership and augmentation depend on (seed, epoch, sample id) alone, never on ranks or threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/range.h"
#include "io/augment.h"
#include "io/batch_plan.h"
#include "io/packed_dataset.h"
#include "io/text_rule.h"

namespace retort::io {

/// The samples of one micro-shard, in order.
struct MicroBatch {
  std::uint64_t epoch = 0;
  std::uint32_t shard = 0;                 // index in the step
  std::vector<std::uint64_t> samples;      // ids
  std::vector<float> pixels;               // [n, channels, height, width], (v/255 - mean)/std
  std::vector<std::int64_t> ids;           // of texts, one after another
  std::vector<std::int64_t> id_begin;      // n + 1 offsets into ids; empty for pictures
  std::vector<std::uint32_t> label_begin;  // n + 1 offsets into labels
  std::vector<std::uint32_t> labels;
};

/// Pixel scaling, part of a model's description: x = (v / 255 - mean) / deviation, per channel.
struct PixelScale {
  std::vector<double> mean;  // one value, or one per channel
  std::vector<double> deviation;
};

struct LoaderOptions {
  std::uint64_t seed = 1;
  bool shuffle = true;
  AugmentOptions augment;
  PixelScale scale;              // of pictures
  std::optional<TextRule> text;  // of texts
  int threads = 1;               // prefetch threads; 0: prepared by the caller's thread
  int depth = 4;                 // micro-batches prepared ahead
  std::uint64_t passes = 0;      // > 0: augmentation is keyed by epoch mod passes instead of epoch
  /// A split of raw pictures that takes at most so many bytes is kept in the Loader's memory once
  /// read and checked; 0: always read. Same results either way.
  std::uint64_t cache_bytes = std::uint64_t{256} << 20;
  std::optional<std::uint64_t> augment_seed;  // key of the augmentation; unset: seed
};

/// UsageError if these options would augment texts.
void check_augmentable(const DatasetFacts& facts, const AugmentOptions& augment);

/// The sample id at `position` of an epoch over `samples`: what every rank agrees on.
std::uint64_t sample_at(const LoaderOptions& options, std::uint64_t samples, std::uint64_t epoch,
                        std::uint64_t position);

/// Prepares one micro-batch now, in this thread: the samples at `positions` of the epoch's order.
/// DataError names the sample that can't be read or decoded, or a scale that doesn't fit the
/// channels; it says so when the data are texts and the options hold no rule for them, or the
/// other way round. UsageError: augmentation of texts.
MicroBatch load_micro_batch(const PackedDataset& data, const LoaderOptions& options,
                            std::uint64_t epoch, core::Range positions, std::uint32_t shard);

/// Prefetches the micro-batches of one rank's micro-shards, step after step. next() gives them in
/// order: for each step from `first_step`, the active shards of `shards` ascending; an end when
/// `last_step` is reached. An error of a prefetch thread comes out of next() where its micro-batch
/// would have, and again from every call after it. One consumer; the data set must outlive the
/// loader, whose destructor waits for at most one micro-batch per thread.
class Loader {
 public:
  /// UsageError: threads < 0.
  Loader(const PackedDataset& data, const BatchPlan& plan, LoaderOptions options,
         core::Range shards, std::uint64_t first_step, std::uint64_t last_step);
  ~Loader();
  std::optional<MicroBatch> next();
  /// Gives a micro-batch back when its contents are not needed any more: its buffers are filled
  /// again instead of new ones. Any thread. Optional.
  void recycle(MicroBatch batch);
  /// Seconds the caller waited in next() so far: the loader's share of a slow step.
  double waited() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort::io
