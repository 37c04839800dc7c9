#include "stages/overlap.h"

#include <algorithm>
#include <cstddef>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>

#include "core/log.h"

namespace retort::stages {

namespace {

constexpr std::uint64_t kMostCounted = 1000;  // read and compared: more say no more
constexpr const char* kTestSplit = "test";

void warn(const TrainingOptions& options, const std::string& split, const io::PackedDataset& learnt,
          const io::PackedDataset& judged) {
  const std::uint64_t shared = shared_samples(learnt, judged, kMostCounted);
  if (shared > 0)
    core::log_warning(
        "{}: {}{} of the {} samples of split {} are also in split {}: scores there will look "
        "better "
        "than they are",
        options.data.string(), shared == kMostCounted ? "at least " : "", shared, judged.size(),
        split, options.split);
}

}  // namespace

std::uint64_t shared_samples(const io::PackedDataset& learnt, const io::PackedDataset& judged,
                             std::uint64_t most) {
  std::unordered_multimap<std::uint32_t, std::uint64_t> by_crc;
  by_crc.reserve(judged.size());
  for (std::uint64_t i = 0; i < judged.size(); ++i) by_crc.emplace(judged.row_crc(i), i);
  std::vector<std::byte> one, other;
  std::uint64_t shared = 0;
  for (std::uint64_t i = 0; i < learnt.size() && shared < most && !by_crc.empty(); ++i) {
    auto [candidate, end] = by_crc.equal_range(learnt.row_crc(i));
    if (candidate != end) learnt.read(i, one);
    while (candidate != end && shared < most) {
      judged.read(candidate->second, other);
      if (one == other) {
        ++shared;
        candidate = by_crc.erase(candidate);  // each is counted once
      } else {
        ++candidate;
      }
    }
  }
  return shared;
}

void warn_of_overlap(const TrainingOptions& options, const io::PackedDataset& learnt,
                     const io::PackedDataset* validation) {
  if (validation != nullptr) warn(options, options.validation, learnt, *validation);
  const auto& splits = learnt.facts().splits;
  if (options.split == kTestSplit || options.validation == kTestSplit ||
      std::find(splits.begin(), splits.end(), kTestSplit) == splits.end())
    return;
  warn(options, kTestSplit, learnt, io::PackedDataset(options.data, kTestSplit));
}

}  // namespace retort::stages
