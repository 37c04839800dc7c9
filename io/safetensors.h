// Tensors in the safetensors format, by which models come from and go to Python (timm, torchvision,
// Hugging Face): u64 length of the header, the header in JSON, the tensors' bytes without gaps.
// Format: https://github.com/huggingface/safetensors ("Format").
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.h"
#include "io/checked_file.h"
#include "io/tensor_file.h"

namespace retort::io {

/// Longest header that is read or written, as the reference implementation has it.
inline constexpr std::uint64_t kSafetensorsHeaderLimit = 100'000'000;

struct SafetensorsEntry {
  std::string type;  // as in the file: "F32", "BF16"
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  // of its bytes, from the end of the header
};

/// A file, checked: names, types and shapes fit, and the tensors cover its data without gap or
/// overlap. Immutable; several threads may read.
class SafetensorsFile {
 public:
  /// Tensors stay on disk; what is read of them later is what was read through here. DataError with
  /// one line for whatever the format does not allow, for names with control characters, for a file
  /// of a run's section that its manifest does not name (io/run_section.h), and later for bytes
  /// that have changed; IoError if it can't be read.
  explicit SafetensorsFile(const std::filesystem::path& path);
  /// The same file again.
  SafetensorsFile(const std::filesystem::path& path, std::shared_ptr<const VerifiedFile> verified);
  /// `bytes`: the whole file, from anywhere; `where` names it in messages.
  SafetensorsFile(std::vector<std::byte> bytes, std::string where);

  /// Of a file on disk.
  const std::shared_ptr<const VerifiedFile>& verified() const { return verified_; }
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  /// What the header says as "__metadata__".
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The little-endian bytes of a tensor; InternalError without such a tensor.
  std::vector<std::byte> bytes(const std::string& name) const;
  /// Elements of a tensor of type F32, F16, BF16 or F64 as fp32, from `first` on, until `into` is
  /// full (F64 is rounded to nearest, infinite if that is too large). DataError for other types,
  /// and for a file that was cut since.
  void read_f32(const std::string& name, std::uint64_t first, std::span<float> into) const;
  /// All of one.
  Tensor as_f32(const std::string& name) const;

 private:
  void parse(std::uint64_t size);
  void read(std::uint64_t offset, std::span<std::byte> into) const;
  const SafetensorsEntry& entry(const std::string& name) const;

  std::optional<RandomAccessFile> file_;  // with `verified_`, or
  std::shared_ptr<const VerifiedFile> verified_;
  std::vector<std::byte> bytes_;
  std::string where_;
  std::uint64_t data_ = 0;  // offset of the first tensor
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

/// Writes `path` (AtomicFile). Widest types first, then by name, so that every tensor is aligned to
/// its type; equal content gives equal bytes, those that the reference implementation writes.
FileSeal write_safetensors(const std::filesystem::path& path, const TensorMap& tensors,
                           const std::map<std::string, std::string>& metadata);
/// The same of tensors that are read piece by piece.
FileSeal write_safetensors(const std::filesystem::path& path, const TensorSource& source,
                           const std::map<std::string, std::string>& metadata);

/// num_batches_tracked: a counter that PyTorch keeps beside BatchNorm's statistics and that says
/// nothing about the model. Readers of models leave it out.
bool is_batch_counter(std::string_view name);

}  // namespace retort::io
