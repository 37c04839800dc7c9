#include "io/sample_marks.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <string>

#include <fmt/format.h>

#include "core/error.h"
#include "io/atomic_file.h"
#include "io/posix.h"

namespace retort::io {
namespace {

std::filesystem::path marks_folder(const std::filesystem::path& folder) {
  return folder / "reading";
}

}  // namespace

struct SampleMarks::State {
  std::filesystem::path path;
  Descriptor file;
  std::mutex mutex;
  std::vector<std::uint64_t> free;
  std::uint64_t slots = 0;

  void write(std::uint64_t index, std::uint64_t value) {
    // All hosts that Retort runs on are little-endian. What cannot be written is not marked.
    [[maybe_unused]] const auto ignored =
        ::pwrite(file.get(), &value, sizeof value, static_cast<off_t>(index * sizeof value));
  }
};

SampleMarks::SampleMarks(const std::filesystem::path& folder, int rank)
    : state_(std::make_unique<State>()) {
  try {
    make_folder(marks_folder(folder));
  } catch (const core::IoError&) {
    return;
  }
  state_->path = marks_folder(folder) / fmt::format("rank-{:05}.bin", rank);
  state_->file = open_descriptor(state_->path, O_WRONLY | O_CREAT | O_TRUNC);
}

SampleMarks::~SampleMarks() {
  if (!state_->file.valid()) return;
  ::unlink(state_->path.c_str());
  ::rmdir(state_->path.parent_path().c_str());  // succeeds for the last rank
}

SampleMarks::Slot::Slot(SampleMarks* marks)
    : marks_(marks != nullptr && marks->state_->file.valid() ? marks : nullptr) {
  if (marks_ == nullptr) return;
  State& state = *marks_->state_;
  const std::lock_guard hold(state.mutex);
  if (state.free.empty()) {
    index_ = state.slots++;
  } else {
    index_ = state.free.back();
    state.free.pop_back();
  }
}

SampleMarks::Slot::~Slot() {
  if (marks_ == nullptr) return;
  clear();
  const std::lock_guard hold(marks_->state_->mutex);
  marks_->state_->free.push_back(index_);
}

void SampleMarks::Slot::mark(std::uint64_t sample) {
  if (marks_ != nullptr) marks_->state_->write(index_, sample + 1);
}

void SampleMarks::Slot::clear() {
  if (marks_ != nullptr) marks_->state_->write(index_, 0);
}

std::vector<std::uint64_t> read_marks(const std::filesystem::path& folder) {
  std::vector<std::uint64_t> samples;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(marks_folder(folder), error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    if (entry->path().extension() != ".bin") continue;
    try {
      const RandomAccessFile file(entry->path());
      std::vector<std::uint64_t> marks(file.size() / sizeof(std::uint64_t));
      file.read(0, std::as_writable_bytes(std::span(marks)));
      for (const std::uint64_t mark : marks)
        if (mark != 0) samples.push_back(mark - 1);
    } catch (const core::Error&) {
      continue;  // it went in the meantime
    }
  }
  std::sort(samples.begin(), samples.end());
  samples.erase(std::unique(samples.begin(), samples.end()), samples.end());
  return samples;
}

void remove_marks(const std::filesystem::path& folder) { remove_tree(marks_folder(folder)); }

}  // namespace retort::io
