// The classes of which a batch's rows say something by name - their gold labels, a teacher's best
// classes or draws, the entries of a label row - as against all others, which a loss treats alike.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/range.h"

namespace retort::nn {

/// Ragged: the listed classes of each row, ascending and distinct. Places in `ids` number them.
struct ListedClasses {
  std::vector<std::uint64_t> begin{0};  // rows + 1 offsets
  std::vector<std::uint32_t> ids;

  std::uint64_t rows() const { return begin.size() - 1; }
  std::span<const std::uint32_t> of(std::uint64_t row) const {
    return std::span(ids).subspan(begin[row], begin[row + 1] - begin[row]);
  }
  /// Adds a row; sorts `classes` and drops what is there twice.
  void append(std::vector<std::uint32_t> classes);
  /// Adds the rows of another batch.
  void append(const ListedClasses& rows);
  /// Where `id` stands in `ids`, for a class that the row lists.
  std::uint64_t place(std::uint64_t row, std::uint32_t id) const;
};

/// The same by class, as the owner of a range of classes needs it.
class ListedByClass {
 public:
  struct Entry {
    std::uint32_t id = 0, row = 0;
    std::uint64_t place = 0;  // in ListedClasses::ids
  };
  /// Those in the range.
  ListedByClass(const ListedClasses& listed, core::Range classes);
  /// Ascending by class, then row.
  std::span<const Entry> all() const { return entries_; }
  std::span<const Entry> within(core::Range classes) const;

 private:
  std::vector<Entry> entries_;
};

}  // namespace retort::nn
