#include "io/sources/selection.h"

#include <algorithm>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace retort::io {
namespace {

using core::DataError;
using core::UsageError;

// One flag per split of the catalogue.
std::vector<std::uint8_t> chosen_splits(const Catalogue& catalogue,
                                        const std::vector<std::string>& names,
                                        const std::string& option) {
  std::vector<std::uint8_t> chosen(catalogue.splits.size());
  for (const std::string& name : names) {
    const auto found = std::find(catalogue.splits.begin(), catalogue.splits.end(), name);
    if (found == catalogue.splits.end())
      throw UsageError(fmt::format("{}: there is no split '{}' (there are: {})", option, name,
                                   fmt::join(catalogue.splits, ", ")));
    std::uint8_t& flag = chosen[static_cast<std::size_t>(found - catalogue.splits.begin())];
    if (flag != 0) throw UsageError(fmt::format("{}: '{}' stands there twice", option, name));
    flag = 1;
  }
  return chosen;
}

}  // namespace

void keep_splits(Catalogue& catalogue, const std::vector<std::string>& names,
                 const std::string& option) {
  const auto chosen = chosen_splits(catalogue, names, option);
  std::vector<std::uint8_t> keep(catalogue.size());
  for (std::uint64_t i = 0; i < keep.size(); ++i) keep[i] = chosen[catalogue.split(i)];
  catalogue.keep_samples(keep);
  std::vector<std::uint32_t> to(chosen.size());
  std::vector<std::string> splits;
  for (std::size_t s = 0; s < chosen.size(); ++s) {
    to[s] = static_cast<std::uint32_t>(splits.size());
    if (chosen[s] != 0) splits.push_back(catalogue.splits[s]);
  }
  catalogue.splits = std::move(splits);
  for (std::uint64_t i = 0; i < catalogue.size(); ++i)
    catalogue.set_split(i, to[catalogue.split(i)]);
}

void drop_unused_classes(Catalogue& catalogue) {
  if (catalogue.classes_are_chosen) return;
  std::vector<std::uint32_t> to(catalogue.class_names.size(), Catalogue::kNoLabel);
  for (std::uint64_t i = 0; i < catalogue.size(); ++i)
    for (const std::uint32_t label : catalogue.labels(i)) to[label] = 0;
  std::vector<std::string> names;
  for (std::size_t c = 0; c < to.size(); ++c) {
    if (to[c] == Catalogue::kNoLabel) continue;
    to[c] = static_cast<std::uint32_t>(names.size());
    names.push_back(std::move(catalogue.class_names[c]));
  }
  catalogue.class_names = std::move(names);
  catalogue.map_labels(to);
}

UnknownFound apply_classes(Catalogue& catalogue, const std::vector<std::string>& names,
                           UnknownLabels unknown, const std::string& list) {
  std::unordered_map<std::string_view, std::uint32_t> index;
  for (std::uint32_t i = 0; i < names.size(); ++i) index.emplace(names[i], i);
  std::vector<std::uint32_t> to;
  for (const std::string& name : catalogue.class_names) {
    const auto found = index.find(name);
    to.push_back(found == index.end() ? Catalogue::kNoLabel : found->second);
  }
  UnknownFound result;
  std::vector<std::uint8_t> keep(catalogue.size(), 1);
  for (std::uint64_t i = 0; i < catalogue.size(); ++i) {
    std::uint64_t known = 0, strange = 0;
    for (const std::uint32_t label : catalogue.labels(i)) {
      if (to[label] != Catalogue::kNoLabel) {
        ++known;
        continue;
      }
      ++strange;
      if (result.first.empty())
        result.first =
            fmt::format("{}: label '{}'", catalogue.name(i), catalogue.class_names[label]);
      if (unknown == UnknownLabels::error)
        throw DataError(
            fmt::format("{} is not among the {} classes of {}; add it there, or say "
                        "--unknown-labels drop or unlabelled",
                        result.first, names.size(), list));
    }
    result.labels += strange;
    if (strange == 0 || known > 0) continue;
    ++result.samples;
    keep[i] = unknown == UnknownLabels::drop ? 0 : 1;
  }
  catalogue.map_labels(to);
  catalogue.class_names = names;
  catalogue.classes_are_chosen = true;
  if (unknown == UnknownLabels::drop && result.samples > 0) catalogue.keep_samples(keep);
  return result;
}

void drop_labels(Catalogue& catalogue, const std::vector<std::string>& splits,
                 const std::string& option) {
  const bool all = splits.size() == 1 && splits[0] == "all";
  const auto chosen = all ? std::vector<std::uint8_t>(catalogue.splits.size(), 1)
                          : chosen_splits(catalogue, splits, option);
  catalogue.drop_labels(chosen);
}

}  // namespace retort::io
