// Descriptors of many shards: opened when first read, the longest unused closed when there are more
// than the process may hold.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "io/atomic_file.h"

namespace retort::io {

/// Thread-safe.
class ShardFiles {
 public:
  /// At most `limit` (>= 1) stay open; 0: half of what the process may open.
  explicit ShardFiles(std::vector<std::filesystem::path> paths, std::size_t limit = 0);
  /// The file, open for as long as the caller holds it. DataError or IoError as RandomAccessFile.
  std::shared_ptr<const RandomAccessFile> get(std::size_t shard) const;
  const std::filesystem::path& path(std::size_t shard) const { return paths_[shard]; }
  std::size_t open_files() const { return open_.load(); }

 private:
  struct Slot {
    std::atomic<std::shared_ptr<const RandomAccessFile>> file;
    std::atomic<bool> recently_used{false};
  };
  void make_room() const;
  std::vector<std::filesystem::path> paths_;
  std::size_t limit_;
  std::unique_ptr<Slot[]> slots_;
  mutable std::mutex mutex_;  // opening and closing
  mutable std::atomic<std::size_t> open_{0};
  mutable std::size_t hand_ = 0;
};

}  // namespace retort::io
