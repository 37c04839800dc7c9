// From a list of samples to shards: how the list is cut, and one shard made from its part.
#pragma once

#include <cstdint>
#include <vector>

#include "core/range.h"
#include "io/image_codec.h"
#include "io/packed_shard.h"
#include "io/sources/source.h"

namespace retort::io {

/// What a sample becomes.
struct PackForm {
  SampleForm form = SampleForm::raw_image;
  ImageShape shape;  // all of it set
  ImageFit fit = ImageFit::stretch;
  bool any_size = false;      // pictures of another size are fitted; else they are an error
  bool any_channels = false;  // colour becomes grey; else that is an error
};

/// The items of each split, in the order of the list, and the ranges of them that make up shards.
struct ShardPlan {
  std::vector<std::vector<std::uint64_t>> items;  // per split of the catalogue
  struct Part {
    std::uint32_t split = 0;
    std::uint64_t shard = 0;  // number in the split
    core::Range range;        // of items[split]
  };
  std::vector<Part> parts;
  std::uint64_t shard_samples = 0;
};

/// `shard_samples`: items per shard, 0: such that a shard has about 64 MB. UsageError if a shard
/// could exceed the limit of a file, DataError for a split without samples.
ShardPlan plan_shards(const Catalogue& catalogue, const PackForm& form,
                      std::uint64_t shard_samples);

/// Makes one shard with `readers.size()` threads. Broken samples are left out and named in the
/// facts; DataError if a sound sample has a shape that `form` does not admit.
PackedShardBuilder::Result pack_shard(const Catalogue& catalogue, const ShardPlan& plan,
                                      const ShardPlan::Part& part, const PackForm& form,
                                      std::vector<std::unique_ptr<SampleReader>>& readers);

}  // namespace retort::io
