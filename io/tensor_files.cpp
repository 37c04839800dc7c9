#include "io/tensor_files.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "io/hdf5.h"
#include "io/stored_ranges.h"

namespace retort::io {

void TensorFiles::add(const std::filesystem::path& path, const FileSeal& seal,
                      std::string_view kind) {
  const std::string where = path.string();
  std::vector<std::byte> image = read_verified(path, seal);
  files_.push_back(std::make_unique<CheckedFile>(path, image));
  const Hdf5Reader reader(std::move(image), where, kind, kTensorFormatVersion);
  for (StoredRange& range : stored_ranges(reader, where)) {
    const auto [found, fresh] = specs_.try_emplace(range.tensor, range.spec);
    if (!fresh &&
        (found->second.type != range.spec.type || found->second.shape != range.spec.shape))
      throw core::DataError(where + ": " + range.path + " has another shape or type than in " +
                            ranges_.at(range.tensor).front().file->path().string() +
                            "; restore the file or make it anew");
    ranges_[range.tensor].push_back({range.first, range.first + range.elements, files_.back().get(),
                                     reader.offset(range.path)});
  }
}

void TensorFiles::finish() {
  for (auto& [name, ranges] : ranges_) {
    std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::uint64_t next = 0;  // first element that is still missing
    for (const Range& range : ranges) {
      if (range.begin != next)
        throw_not_covered(range.file->path().string(), name, next, range.begin);
      next = range.end;
    }
    const std::uint64_t all = specs_.at(name).elements();
    if (next != all) throw_cut_short(ranges.front().file->path().string(), name, next, all);
  }
}

void TensorFiles::read(const std::string& name, std::uint64_t first,
                       std::span<std::byte> into) const {
  const std::uint64_t size = size_of(specs_.at(name).type);
  const std::vector<Range>& ranges = ranges_.at(name);
  auto range = std::partition_point(ranges.begin(), ranges.end(),
                                    [&](const Range& each) { return each.end <= first; });
  while (!into.empty()) {
    if (range == ranges.end() || first < range->begin)
      throw core::InternalError("tensor " + name + ": read beyond its end");
    const std::uint64_t bytes = std::min<std::uint64_t>(into.size(), (range->end - first) * size);
    range->file->read(range->offset + (first - range->begin) * size, into.first(bytes));
    into = into.subspan(bytes);
    first += bytes / size;
    ++range;
  }
}

TensorSource TensorFiles::source() const {
  return {specs_, [this](const std::string& name, std::uint64_t first, std::span<std::byte> into) {
            read(name, first, into);
          }};
}

}  // namespace retort::io
