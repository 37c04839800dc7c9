// One shard of a packed dataset: its image, and the facts that let a reader pread rows without
// parsing HDF5. Format: docs/packed_dataset_format.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/range.h"
#include "io/augment.h"
#include "io/packed_dataset.h"
#include "io/sequence_digest.h"

namespace retort::io {

inline constexpr std::string_view kPackedShardKind = "packed_shard";
inline constexpr std::string_view kPackedClassesKind = "packed_classes";
inline constexpr std::string_view kPackedManifestKind = "packed_dataset";
inline constexpr std::uint32_t kPackedFormatVersion = 1;
/// Name of the member that holds the class names.
inline constexpr std::string_view kPackedClassesName = "classes.h5";
/// Payload of a shard at most: an HDF5 image is at most 256 MB.
inline constexpr std::uint64_t kMaxShardBytes = std::uint64_t{240} << 20;

/// "train/shard-000000.h5"
std::string packed_shard_name(const std::string& split, std::uint64_t shard);

/// Where a table lies in the shard's file, and what its bytes hash to.
struct PackedTable {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  std::uint32_t crc32c = 0;  // of the table; 0 for rows, whose CRCs are in row_crc
};

/// A source's sample that was left out.
struct BadSample {
  std::uint64_t item = 0;  // in the split's list
  std::string name;
  std::string reason;
  bool operator==(const BadSample&) const = default;
};

/// What the manifest holds of a shard.
struct PackedShardFacts {
  std::string split;
  std::uint64_t shard = 0;      // number in the split
  core::Range items;            // of the split's list that the shard was made from
  std::uint64_t samples = 0;    // that it holds: items without the broken ones
  std::uint64_t row_bytes = 0;  // 0: ragged
  PackedTable rows, row_crc, row_begin, label_begin, labels;
  SequenceDigest digest;
  std::vector<std::uint64_t> bad_items;  // of the split's list, left out as broken
  std::vector<BadSample> bad_samples;    // the first ones, with names
  nlohmann::json to_json() const;
  static PackedShardFacts from_json(const nlohmann::json& json, const std::string& where);
};

/// Builds one shard, sample after sample.
class PackedShardBuilder {
 public:
  /// `shape`: of raw pictures; of encoded ones what the loader resizes to; zeros for text.
  PackedShardBuilder(SampleForm form, ImageShape shape, std::string split, std::uint64_t shard,
                     core::Range items);
  /// InternalError if a raw payload has another size than the shape.
  void add(std::span<const std::byte> payload, std::span<const std::uint32_t> labels);
  void add_bad(BadSample bad);
  /// The image and its facts; the builder is spent.
  struct Result {
    std::vector<std::byte> image;
    PackedShardFacts facts;
  };
  Result finish();

 private:
  SampleForm form_;
  ImageShape shape_;
  PackedShardFacts facts_;
  std::vector<std::byte> rows_;
  std::vector<std::uint64_t> row_begin_{0};
  std::vector<std::uint32_t> row_crc_;
  std::vector<std::uint64_t> label_begin_{0};
  std::vector<std::uint32_t> labels_;
};

/// The member that holds the class names.
std::vector<std::byte> packed_classes_image(const std::vector<std::string>& class_names);
std::string packed_class_digest(const std::vector<std::string>& class_names);
/// Digest of a split: form, shape, classes and the sequence of its samples.
std::string packed_split_digest(SampleForm form, ImageShape shape, const std::string& class_digest,
                                const SequenceDigest& samples);

std::string_view name_of(SampleForm form);  // "raw", "encoded", "text"
SampleForm sample_form_of(std::string_view name, const std::string& where);

}  // namespace retort::io
