// Fills micro-batches: reads, decodes, augments and scales the samples of one after another.
#pragma once

#include <cstdint>
#include <vector>

#include "core/range.h"
#include "io/augment.h"
#include "io/image_codec.h"
#include "io/loader.h"
#include "io/packed_dataset.h"
#include "io/pixels.h"

namespace retort::io {

/// Keeps its decoder and buffers from sample to sample. One thread at a time; `data` and `options`
/// must outlive it.
class MicroBatchFiller {
 public:
  MicroBatchFiller(const PackedDataset& data, const LoaderOptions& options);
  /// Overwrites `batch`, reusing its memory.
  void fill(MicroBatch& batch, std::uint64_t epoch, core::Range positions, std::uint32_t shard);

 private:
  std::span<std::uint8_t> read_image(std::uint64_t sample);
  const PackedDataset& data_;
  const LoaderOptions& options_;
  ImageShape shape_;
  PixelConverter converter_;
  ImageDecoder decoder_;
  std::vector<std::byte> row_;
  std::vector<std::uint8_t> decoded_;
};

}  // namespace retort::io
