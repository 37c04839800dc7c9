// What a finished pack says: counts, faults, manifest, the table that users see.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "io/manifest.h"
#include "io/packed_shard.h"
#include "io/sources/shard_packing.h"
#include "io/sources/source.h"
#include "stages/stage.h"

namespace retort::stages {

/// What all shards together say.
struct PackTally {
  std::uint64_t bytes = 0;  // of all members
  std::uint64_t bad = 0;
  std::vector<io::BadSample> bad_samples;  // the first ones
  struct Split {
    std::string name;
    io::SequenceDigest digest;
    std::uint64_t bad = 0;
    std::uint64_t bytes = 0;
    std::uint64_t unlabelled = 0, several_labels = 0;  // samples
    std::vector<std::uint64_t> class_counts;
  };
  std::vector<Split> splits;  // as the catalogue has them
};

PackTally tally_up(const std::vector<io::Member>& members, const io::Catalogue& catalogue,
                   const io::ShardPlan& plan);

/// DataError for a split or a class whose pictures are all broken. Warns about classes without a
/// sample in train, if it has labels: nothing can learn them, but sets for verification are made
/// so.
void check_packed(const PackTally& tally, const io::Catalogue& catalogue);

/// All but recipe hash and members.
io::Manifest packed_manifest(const PackTally& tally, const io::Catalogue& catalogue,
                             const io::PackForm& form, const std::string& source,
                             std::uint64_t shard_samples);

nlohmann::json pack_results(const io::Manifest& manifest, const PackTally& tally,
                            const io::Catalogue& catalogue);
/// One line of JSON, or a table; rank 0 calls it.
void print_pack(const StageContext& context, const nlohmann::json& results);

}  // namespace retort::stages
