#include "nn/class_head/listed_classes.h"

#include <algorithm>

#include "core/error.h"

namespace retort::nn {

void ListedClasses::append(std::vector<std::uint32_t> classes) {
  std::sort(classes.begin(), classes.end());
  classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
  ids.insert(ids.end(), classes.begin(), classes.end());
  begin.push_back(ids.size());
}

void ListedClasses::append(const ListedClasses& rows) {
  const std::uint64_t before = ids.size();
  for (std::uint64_t row = 0; row < rows.rows(); ++row)
    begin.push_back(before + rows.begin[row + 1]);
  ids.insert(ids.end(), rows.ids.begin(), rows.ids.end());
}

std::uint64_t ListedClasses::place(std::uint64_t row, std::uint32_t id) const {
  const auto of_row = of(row);
  const auto found = std::lower_bound(of_row.begin(), of_row.end(), id);
  if (found == of_row.end() || *found != id)
    throw core::InternalError("a class that its row does not list");
  return begin[row] + static_cast<std::uint64_t>(found - of_row.begin());
}

ListedByClass::ListedByClass(const ListedClasses& listed, core::Range classes) {
  for (std::uint64_t row = 0; row < listed.rows(); ++row)
    for (std::uint64_t at = listed.begin[row]; at < listed.begin[row + 1]; ++at)
      if (classes.contains(listed.ids[at]))
        entries_.push_back({listed.ids[at], static_cast<std::uint32_t>(row), at});
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.id < b.id; });
}

std::span<const ListedByClass::Entry> ListedByClass::within(core::Range classes) const {
  const auto below = [](const Entry& entry, std::uint64_t id) { return entry.id < id; };
  const auto first = std::lower_bound(entries_.begin(), entries_.end(), classes.begin, below);
  const auto last = std::lower_bound(first, entries_.end(), classes.end, below);
  return {first, last};
}

}  // namespace retort::nn
