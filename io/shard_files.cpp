#include "io/shard_files.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace retort::io {
namespace {

std::size_t default_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return 4096;
  return std::clamp<std::size_t>(limit.rlim_cur / 2, 16, 65536);
}

}  // namespace

ShardFiles::ShardFiles(std::vector<std::filesystem::path> paths, std::size_t limit)
    : paths_(std::move(paths)),
      limit_(limit == 0 ? default_limit() : limit),
      slots_(std::make_unique<Slot[]>(paths_.size())) {}

std::shared_ptr<const RandomAccessFile> ShardFiles::get(std::size_t shard) const {
  Slot& slot = slots_[shard];
  if (auto file = slot.file.load()) {
    // Written only when it changes: the line is shared by all reading threads.
    if (!slot.recently_used.load(std::memory_order_relaxed)) slot.recently_used.store(true);
    return file;
  }
  const std::lock_guard lock(mutex_);
  if (auto file = slot.file.load()) return file;
  if (open_.load() >= limit_) make_room();
  auto file = std::make_shared<const RandomAccessFile>(paths_[shard]);
  slot.file.store(file);
  slot.recently_used.store(true);
  ++open_;
  return file;
}

// The clock algorithm: a second chance for what was read since the hand last came by.
void ShardFiles::make_room() const {
  for (std::size_t steps = 0; steps < 2 * paths_.size(); ++steps) {
    Slot& slot = slots_[hand_];
    hand_ = (hand_ + 1) % paths_.size();
    if (!slot.file.load() || slot.recently_used.exchange(false)) continue;
    slot.file.store(nullptr);
    --open_;
    return;
  }
}

}  // namespace retort::io
