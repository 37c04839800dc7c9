// Which sample each thread of a rank is reading now, kept in a small file: what a process that died
// was at is still there for the next start, which can name a sample that kills each time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace retort::io {

/// Of samples that are decoded or cut into words: what is copied as it is kills nobody.
/// FOLDER/reading/rank-RRRRR.bin: u64 little-endian, one for each thread, sample + 1, 0: none. One
/// pwrite(2) per mark, no fsync: it outlives the process, not the host. Where the file cannot be
/// written (a full disk), nothing is marked.
class SampleMarks {
 public:
  SampleMarks(const std::filesystem::path& folder, int rank);
  /// Removes the file: who ends by itself, or with an error that has words, leaves no marks.
  ~SampleMarks();
  SampleMarks(const SampleMarks&) = delete;
  SampleMarks& operator=(const SampleMarks&) = delete;

  /// One thread's place in the file while it lives; unmarks in the destructor. Marks nothing if
  /// `marks` is null. The marks must outlive it.
  class Slot {
   public:
    explicit Slot(SampleMarks* marks);
    ~Slot();
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;
    void mark(std::uint64_t sample);
    void clear();

   private:
    SampleMarks* marks_;
    std::uint64_t index_ = 0;
  };

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The samples that the threads of a start which died were reading, sorted. Empty if there is
/// nothing.
std::vector<std::uint64_t> read_marks(const std::filesystem::path& folder);
/// For one process of a start, before the others mark. IoError.
void remove_marks(const std::filesystem::path& folder);

}  // namespace retort::io
