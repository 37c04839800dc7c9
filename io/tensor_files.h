// Tensors as they lie in files, read piece by piece: for those that no one holds whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/atomic_file.h"
#include "io/checked_file.h"
#include "io/tensor_file.h"

namespace retort::io {

/// Move-only. Keeps files open, not their bytes.
class TensorFiles {
 public:
  TensorFiles() = default;
  /// Verifies a file and remembers where its ranges are. DataError as TensorAssembler::add(), and
  /// for a file of another size or hash.
  void add(const std::filesystem::path& path, const FileSeal& seal, std::string_view kind);
  /// After the last one: DataError if a tensor has gaps or overlaps.
  void finish();

  const std::map<std::string, TensorSpec>& specs() const { return specs_; }
  /// Fills `into` with a tensor's bytes from its element `first` on. DataError for a file that has
  /// been cut or changed since add().
  void read(const std::string& name, std::uint64_t first, std::span<std::byte> into) const;
  /// All tensors. This outlives it.
  TensorSource source() const;

 private:
  struct Range {
    std::uint64_t begin = 0, end = 0;  // elements
    const CheckedFile* file = nullptr;
    std::uint64_t offset = 0;  // of the first, in the file
  };
  std::vector<std::unique_ptr<CheckedFile>> files_;
  std::map<std::string, TensorSpec> specs_;
  std::map<std::string, std::vector<Range>> ranges_;
};

}  // namespace retort::io
