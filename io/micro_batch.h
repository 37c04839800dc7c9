// Fills micro-batches: reads, decodes, augments and scales pictures, or turns texts into ids, one
// sample after another.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/range.h"
#include "io/augment.h"
#include "io/image_codec.h"
#include "io/loader.h"
#include "io/packed_dataset.h"
#include "io/pixels.h"
#include "io/raw_cache.h"

namespace retort::io {

/// A cache for this data set, or none: if it isn't raw, or above options.cache_bytes.
std::unique_ptr<RawCache> make_raw_cache(const PackedDataset& data, const LoaderOptions& options);

/// Keeps its decoder and buffers from sample to sample. One thread at a time; `data`, `options` and
/// `cache` (may be null, may be shared by fillers) must outlive it.
class MicroBatchFiller {
 public:
  MicroBatchFiller(const PackedDataset& data, const LoaderOptions& options, RawCache* cache);
  /// Overwrites `batch`, reusing its memory.
  void fill(MicroBatch& batch, std::uint64_t epoch, core::Range positions, std::uint32_t shard);
  /// Adds samples behind those of `batch`, as unlabelled ones: tagged, without labels.
  void append_unlabelled(MicroBatch& batch, std::uint64_t epoch, core::Range positions);

 private:
  // Valid until the next call.
  std::span<const std::uint8_t> read_image(std::uint64_t sample);
  std::span<const std::uint8_t> read_raw(std::uint64_t sample);
  /// The sample as the model's pixels [channels, height, width].
  void load_picture(std::uint64_t sample, std::uint64_t epoch, std::span<float> pixels);
  void load_text(std::uint64_t sample, std::vector<std::int64_t>& ids);
  /// Adds the input of a sample, whose pixels go to `pixels`, behind what is there.
  void load(std::uint64_t sample, std::uint64_t epoch, MicroBatch& batch, std::size_t pixels);
  void require(core::Range positions) const;
  const PackedDataset& data_;
  const LoaderOptions& options_;
  SampleMarks::Slot mark_;
  RawCache* cache_;
  ImageShape shape_;
  std::optional<PixelConverter> converter_;  // of pictures
  ImageDecoder decoder_;
  std::vector<std::byte> row_;
  std::vector<std::uint8_t> decoded_, augmented_;
};

}  // namespace retort::io
