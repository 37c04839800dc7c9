// A model in several safetensors files, its last layer divided among them by rows: as trainings
// with a head divided by classes leave it (a file a rank), and as `retort reshard` writes it.
// Format: docs/reshard.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/range.h"
#include "io/manifest.h"
#include "io/tensor_file.h"

namespace retort::io {

class SafetensorsFile;
struct VerifiedFile;

/// Of a file's header: the first row of its part of the last layer, and the rows of all.
inline constexpr const char* kFirstClassKey = "first_class";
inline constexpr const char* kClassesKey = "classes";

class ModelParts {
 public:
  /// Opens the files one after another. A tensor in one file is whole; one in several is divided:
  /// its rows follow each other as the headers say or, where none says it, as the files are given.
  /// Tensors are read as fp32; counters of BatchNorm are left out. DataError: rows that two files
  /// hold or none, other features, headers of which some say it and some do not, a bias of other
  /// rows than its weight, two files of the same content, no floating point.
  explicit ModelParts(const std::vector<std::filesystem::path>& files);
  ~ModelParts();
  ModelParts(ModelParts&&) noexcept;

  const std::map<std::string, TensorSpec>& specs() const { return specs_; }
  /// Of a file's bytes.
  std::string sha256(const std::filesystem::path& file) const;
  /// Names of the tensors that are in several files.
  std::vector<std::string> divided() const;
  /// All tensors, whole; they stay on disk. Several threads may read. This outlives it.
  TensorSource source() const;

 private:
  struct Part {
    std::filesystem::path file;
    core::Range rows;
  };
  struct Opened;
  void check_whole(const std::filesystem::path& file, std::uint64_t first, std::uint64_t all) const;
  void check_biases() const;
  std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& file) const;

  std::map<std::string, TensorSpec> specs_;
  std::map<std::string, std::vector<Part>> parts_;  // by rows
  std::map<std::filesystem::path, std::shared_ptr<const VerifiedFile>> verified_;
  std::unique_ptr<Opened> opened_;
};

/// The part files of a folder that write_parts() wrote, in their order; none: it is no such folder.
std::vector<std::filesystem::path> part_files(const std::filesystem::path& folder);
/// Writes FOLDER/part-IIIII-of-NNNNN.safetensors, the rows of the tensors `divided` among them as
/// evenly as whole rows allow, all others in the first; or, of one part, FOLDER/model.safetensors.
/// Returns them, for a manifest. Pieces of a tensor are in memory, no more.
std::vector<Member> write_parts(const std::filesystem::path& folder, const TensorSource& source,
                                const std::vector<std::string>& divided, std::uint64_t parts);

}  // namespace retort::io
