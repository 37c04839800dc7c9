#include "io/label_row_reader.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <utility>

#include "io/fixed_sum.h"

namespace retort::io {

LabelRowReader::LabelRowReader(const LabelMatrix& matrix, std::uint64_t memory)
    : per_file_(label_classes_per_file(matrix.facts())) {
  constexpr std::uint64_t kEntryBytes = sizeof(std::uint32_t) + sizeof(double);
  const bool on_disk = matrix.facts().classes * matrix.facts().top_m * kEntryBytes > memory;
  double self = 0;
  std::vector<std::filesystem::path> paths;
  for (std::uint64_t file = 0; file < matrix.files(); ++file) {
    LabelRows rows;
    if (on_disk) {
      auto [read, entries] = matrix.read_with_entries(file);
      rows = std::move(read);
      entries_.push_back(std::move(entries));
      paths.push_back(matrix.path(file));
    } else {
      rows = matrix.read(file);
    }
    const std::uint64_t before = begin_.back();
    for (std::uint64_t r = 0; r < rows.classes.size(); ++r) {
      const std::uint64_t first = rows.row_begin[r];
      begin_.push_back(before + rows.row_begin[r + 1]);
      normaliser_.push_back(FixedSum::from_words(rows.normaliser[r]).value());
      discarded_.push_back(rows.discarded[r]);
      if (rows.ids[first] == rows.classes.begin + r)
        self += rows.weights[first] / normaliser_.back();
    }
    if (on_disk) continue;
    ids_.insert(ids_.end(), rows.ids.begin(), rows.ids.end());
    weights_.insert(weights_.end(), rows.weights.begin(), rows.weights.end());
  }
  if (on_disk) files_ = std::make_unique<const ShardFiles>(std::move(paths));
  mean_self_ = self / static_cast<double>(classes());
}

void LabelRowReader::read(std::uint64_t of_class, Row& into) const {
  const std::uint64_t begin = begin_[of_class], count = begin_[of_class + 1] - begin;
  into.normaliser = normaliser_[of_class];
  into.discarded = discarded_[of_class];
  into.ids.resize(count);
  into.weights.resize(count);
  if (!files_) {
    std::copy_n(ids_.begin() + static_cast<std::ptrdiff_t>(begin), count, into.ids.begin());
    std::copy_n(weights_.begin() + static_cast<std::ptrdiff_t>(begin), count, into.weights.begin());
    return;
  }
  const std::uint64_t file = of_class / per_file_, at = begin - begin_[file * per_file_];
  const LabelMatrix::Entries& entries = entries_[file];
  const auto open = files_->get(file);
  entries.checksums.read(*open, entries.ids + at * sizeof(std::uint32_t),
                         std::as_writable_bytes(std::span(into.ids)));
  entries.checksums.read(*open, entries.weights + at * sizeof(double),
                         std::as_writable_bytes(std::span(into.weights)));
}

}  // namespace retort::io
