#include "io/micro_batch.h"

#include <string>

#include <fmt/format.h>

#include "core/error.h"
#include "core/fault_point.h"
#include "core/random.h"

namespace retort::io {
namespace {

/// Order of an epoch; made once per micro-batch.
class EpochOrder {
 public:
  EpochOrder(const LoaderOptions& options, std::uint64_t samples, std::uint64_t epoch)
      : shuffle_(options.shuffle),
        permutation_(samples, options.seed, core::RandomUse::shuffle, {epoch}) {}
  std::uint64_t operator()(std::uint64_t position) const {
    return shuffle_ ? permutation_(position) : position;
  }

 private:
  bool shuffle_;
  core::Permutation permutation_;
};

ImageShape shape_of(const DatasetFacts& facts) {
  return {facts.height, facts.width, facts.channels};
}

}  // namespace

void check_augmentable(const DatasetFacts& facts, const AugmentOptions& augment) {
  if (facts.form == SampleForm::text && augment.any())
    throw core::UsageError(
        fmt::format("augmentation '{}': texts are not augmented; leave out the --augment options",
                    augment.text()));
}

std::uint64_t sample_at(const LoaderOptions& options, std::uint64_t samples, std::uint64_t epoch,
                        std::uint64_t position) {
  return EpochOrder(options, samples, epoch)(position);
}

LoaderOptions unlabelled_options(LoaderOptions labelled, std::uint64_t passes,
                                 std::uint64_t augment_seed) {
  // Two sets of equal size must not go in the same order.
  labelled.seed =
      core::RandomStream(labelled.seed, core::RandomUse::shuffle, {~std::uint64_t{0}, 1})
          .next_u64();
  labelled.passes = passes;
  labelled.augment_seed = augment_seed;
  return labelled;
}

std::unique_ptr<RawCache> make_raw_cache(const PackedDataset& data, const LoaderOptions& options) {
  const std::uint64_t bytes = shape_of(data.facts()).elements();
  if (data.facts().form != SampleForm::raw_image || bytes == 0 ||
      data.size() > options.cache_bytes / bytes)
    return nullptr;
  return std::make_unique<RawCache>(data.size(), bytes);
}

MicroBatchFiller::MicroBatchFiller(const PackedDataset& data, const LoaderOptions& options,
                                   RawCache* cache)
    : data_(data),
      options_(options),
      // Bytes that are copied as they are kill nobody.
      mark_(data.facts().form == SampleForm::raw_image ? nullptr : options.marks.get()),
      cache_(cache),
      shape_(shape_of(data.facts())) {
  if ((data.facts().form == SampleForm::text) != options.text.has_value())
    throw core::DataError(options.text ? "the data set holds pictures, the model takes text"
                                       : "the data set holds text, the model takes pictures");
  check_augmentable(data.facts(), options.augment);
  if (!options.text) converter_.emplace(options.scale, shape_.channels);
}

std::span<const std::uint8_t> MicroBatchFiller::read_raw(std::uint64_t sample) {
  std::span<const std::byte> bytes =
      cache_ != nullptr ? cache_->find(sample) : std::span<const std::byte>();
  if (bytes.empty()) {
    data_.read(sample, row_);
    if (row_.size() != shape_.elements())
      throw core::DataError(fmt::format("sample {}: {} bytes for a picture of {} x {} x {}", sample,
                                        row_.size(), shape_.height, shape_.width, shape_.channels));
    if (cache_ != nullptr) cache_->keep(sample, row_);
    bytes = row_;
  }
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

std::span<const std::uint8_t> MicroBatchFiller::read_image(std::uint64_t sample) {
  if (data_.facts().form == SampleForm::raw_image) return read_raw(sample);
  data_.read(sample, row_);
  try {
    const DecodedImage& image = decoder_.decode(row_, shape_.channels, "picture");
    if (image.shape == shape_) return image.pixels;
    decoded_.resize(shape_.elements());
    resize_image(image.pixels, image.shape, shape_, ImageFit::stretch, decoded_);
  } catch (const core::DataError& error) {
    throw core::DataError(
        fmt::format("sample {}: {}; pack the data again without it", sample, error.what()));
  }
  return decoded_;
}

void MicroBatchFiller::load_picture(std::uint64_t sample, std::uint64_t epoch,
                                    std::span<float> pixels) {
  std::span<const std::uint8_t> image = read_image(sample);
  if (options_.augment.any()) {
    const std::uint64_t pass = options_.passes == 0 ? epoch : epoch % options_.passes;
    const std::uint64_t seed = options_.augment_seed.value_or(options_.seed);
    augmented_.resize(image.size());
    augment(options_.augment, shape_, image, augmented_,
            {seed, core::RandomUse::augment, {pass, sample}});
    image = augmented_;
  }
  converter_->convert(shape_, image, pixels);
}

void MicroBatchFiller::load_text(std::uint64_t sample, std::vector<std::int64_t>& ids) {
  data_.read(sample, row_);
  append_ids(*options_.text, {reinterpret_cast<const char*>(row_.data()), row_.size()}, ids);
}

void MicroBatchFiller::load(std::uint64_t sample, std::uint64_t epoch, MicroBatch& batch,
                            std::size_t pixels) {
  if (!options_.text) {
    load_picture(sample, epoch, std::span(batch.pixels).subspan(pixels, shape_.elements()));
    return;
  }
  load_text(sample, batch.ids);
  batch.id_begin.push_back(static_cast<std::int64_t>(batch.ids.size()));
}

void MicroBatchFiller::require(core::Range positions) const {
  if (positions.begin > positions.end || positions.end > data_.size())
    throw core::InternalError(fmt::format("loader: positions {} to {} of {} samples",
                                          positions.begin, positions.end, data_.size()));
}

void MicroBatchFiller::fill(MicroBatch& batch, std::uint64_t epoch, core::Range positions,
                            std::uint32_t shard) {
  require(positions);
  const EpochOrder order(options_, data_.size(), epoch);
  const std::size_t elements = shape_.elements();
  batch.epoch = epoch;
  batch.unlabelled_epoch = 0;
  batch.shard = shard;
  batch.labelled = positions.size();
  batch.samples.clear();
  batch.labels.clear();
  batch.label_begin.assign(1, 0);
  batch.pixels.resize(positions.size() * elements);
  batch.ids.clear();
  batch.id_begin.assign(options_.text ? 1 : 0, 0);
  for (std::uint64_t position = positions.begin; position < positions.end; ++position) {
    const std::uint64_t sample = order(position);
    mark_.mark(sample);
    core::numbered_fault_point("sample", sample);
    load(sample, epoch, batch, (position - positions.begin) * elements);
    batch.samples.push_back(sample);
    const auto labels = data_.labels(sample);
    batch.labels.insert(batch.labels.end(), labels.begin(), labels.end());
    batch.label_begin.push_back(static_cast<std::uint32_t>(batch.labels.size()));
  }
  mark_.clear();
}

void MicroBatchFiller::append_unlabelled(MicroBatch& batch, std::uint64_t epoch,
                                         core::Range positions) {
  require(positions);
  const EpochOrder order(options_, data_.size(), epoch);
  const std::size_t elements = shape_.elements(), before = batch.samples.size();
  batch.unlabelled_epoch = epoch;
  batch.pixels.resize((before + positions.size()) * elements);
  for (std::uint64_t position = positions.begin; position < positions.end; ++position) {
    const std::uint64_t sample = order(position);
    mark_.mark(sample | kUnlabelledTag);
    load(sample, epoch, batch, (before + position - positions.begin) * elements);
    batch.samples.push_back(sample | kUnlabelledTag);
    batch.label_begin.push_back(static_cast<std::uint32_t>(batch.labels.size()));
  }
  mark_.clear();
}

MicroBatch load_micro_batch(const PackedDataset& data, const LoaderOptions& options,
                            std::uint64_t epoch, core::Range positions, std::uint32_t shard) {
  MicroBatch batch;
  MicroBatchFiller(data, options, nullptr).fill(batch, epoch, positions, shard);
  return batch;
}

}  // namespace retort::io
