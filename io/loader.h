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
#include "io/sample_marks.h"
#include "io/text_rule.h"

namespace retort::io {

/// Set in the ids of unlabelled samples, which are counted from 0 again.
inline constexpr std::uint64_t kUnlabelledTag = std::uint64_t{1} << 63;

/// The samples of one micro-shard, in order: labelled ones, then unlabelled ones.
struct MicroBatch {
  std::uint64_t epoch = 0;
  std::uint64_t unlabelled_epoch = 0;
  std::uint32_t shard = 0;                 // index in the step
  std::uint64_t labelled = 0;              // samples that come first
  std::vector<std::uint64_t> samples;      // ids; unlabelled ones with kUnlabelledTag
  std::vector<float> pixels;               // [n, channels, height, width], (v/255 - mean)/std
  std::vector<std::int64_t> ids;           // of texts, one after another
  std::vector<std::int64_t> id_begin;      // n + 1 offsets into ids; empty for pictures
  std::vector<std::uint32_t> label_begin;  // n + 1 offsets into labels
  std::vector<std::uint32_t> labels;       // none of unlabelled samples
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
  std::shared_ptr<SampleMarks> marks;         // where threads say what they read; may be none
};

/// UsageError if these options would augment texts.
void check_augmentable(const DatasetFacts& facts, const AugmentOptions& augment);

/// The sample id at `position` of an epoch over `samples`: what every rank agrees on.
std::uint64_t sample_at(const LoaderOptions& options, std::uint64_t samples, std::uint64_t epoch,
                        std::uint64_t position);

/// The unlabelled set that a loader draws on beside the labelled one: with an order and
/// augmentation of its own, its labels, if any, are not looked at. The data set must outlive the
/// loader.
struct UnlabelledRows {
  const PackedDataset* data = nullptr;
  LoaderOptions options;
};
/// Options for it: those of the labelled set with another order, `passes` and `augment_seed`.
LoaderOptions unlabelled_options(LoaderOptions labelled, std::uint64_t passes,
                                 std::uint64_t augment_seed);

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
  /// `unlabelled`: where the plan's rows of a second set come from. UsageError: threads < 0.
  /// InternalError: the plan has such rows and there is no set, or the other way round. DataError:
  /// pictures of two shapes, or pictures and texts.
  Loader(const PackedDataset& data, const BatchPlan& plan, LoaderOptions options,
         core::Range shards, std::uint64_t first_step, std::uint64_t last_step,
         std::optional<UnlabelledRows> unlabelled = std::nullopt);
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
