// Packed dataset: a folder of HDF5 shards by sample range, one sub-folder per split, one manifest.
// Rows are read with pread from offsets that the manifest's facts give, each with its CRC32C.
// Format: docs/packed_dataset_format.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/manifest.h"

namespace retort::io {

/// How a sample's payload is stored.
enum class SampleForm {
  raw_image,      // u8 [height, width, channels], fixed size
  encoded_image,  // JPEG, PNG, PNM bytes as they came, ragged; decoded by the loader
  text,           // valid UTF-8, ragged; any length, none too
};

struct DatasetFacts {
  SampleForm form = SampleForm::raw_image;
  // Of raw images; of encoded ones: the size the loader resizes to; 0 of text.
  std::uint32_t height = 0;
  std::uint32_t width = 0;
  std::uint32_t channels = 0;  // 1 or 3; 0 of text
  std::vector<std::string> class_names;
  std::vector<std::string> splits;
};

/// One split of a packed dataset, opened for random access. Thread-safe after construction.
/// Sample ids are positions [0, size()) in the split, the same for ever.
class PackedDataset {
 public:
  /// DataError: no manifest, another kind, no such split (names those there), shards missing.
  PackedDataset(const std::filesystem::path& folder, const std::string& split);
  ~PackedDataset();
  PackedDataset(PackedDataset&&) noexcept;

  const DatasetFacts& facts() const;
  std::uint64_t size() const;
  /// Payload of a sample into `row` (resized). Checks its CRC; DataError names shard and sample.
  void read(std::uint64_t sample, std::vector<std::byte>& row) const;
  /// CRC32C of a sample's payload, as the shard says; nothing is read.
  std::uint32_t row_crc(std::uint64_t sample) const;
  /// Length of a sample's payload.
  std::uint64_t row_bytes(std::uint64_t sample) const;
  /// Gold class ids; empty for an unlabelled sample.
  std::span<const std::uint32_t> labels(std::uint64_t sample) const;
  /// Samples per class.
  std::vector<std::uint64_t> class_counts() const;
  /// Content digest of this split, and of the class names: what logits and models refer to.
  const std::string& digest() const;
  const std::string& class_digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The class names of a packed dataset. DataError as PackedDataset.
std::vector<std::string> packed_class_names(const std::filesystem::path& folder);
/// Those that another kind of folder keeps in a classes.h5 of the same form.
std::vector<std::string> packed_class_names(const std::filesystem::path& folder,
                                            const Manifest& manifest);

}  // namespace retort::io
