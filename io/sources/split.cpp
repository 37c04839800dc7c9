#include "io/sources/split.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "core/error.h"
#include "core/random.h"

namespace retort::io {
namespace {

using core::UsageError;

constexpr std::string_view kForms =
    "write NAME=FRACTION parts that sum to 1, or NAME=rest and NAME=COUNT parts, "
    "as train=0.8,test=0.2 or train=rest,test=2";

// "NAME=0.8", "NAME=5", "NAME=rest"; nothing, and the reason why.
std::optional<SplitPart> read_part(const std::string& part, std::string& reason) {
  const auto fail = [&](std::string why) {
    reason = std::move(why);
    return std::nullopt;
  };
  const std::size_t equals = part.find('=');
  if (equals == std::string::npos) return fail(fmt::format("'{}' has no '='", part));
  SplitPart result;
  result.name = part.substr(0, equals);
  const std::string value = part.substr(equals + 1);
  const bool good_name =
      !result.name.empty() && std::all_of(result.name.begin(), result.name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
      });
  if (!good_name) return fail(fmt::format("'{}' is no name (a-z, 0-9, _, -)", result.name));
  if (value == "rest") return result;
  const char* end = value.data() + value.size();
  if (value.find_first_not_of("0123456789") == std::string::npos && !value.empty()) {
    const auto [stop, error] = std::from_chars(value.data(), end, result.count);
    if (error != std::errc() || result.count == 0)
      return fail(fmt::format("'{}' is no count", value));
    result.kind = SplitPart::Kind::count;
    return result;
  }
  const auto [stop, error] = std::from_chars(value.data(), end, result.fraction);
  if (error != std::errc() || stop != end || !(result.fraction > 0) || !(result.fraction < 1))
    return fail(fmt::format("'{}' is no fraction between 0 and 1, no count and not 'rest'", value));
  result.kind = SplitPart::Kind::fraction;
  return result;
}

SplitPart parse_part(const std::string& text, const std::string& part) {
  std::string reason;
  const auto read = read_part(part, reason);
  if (!read) throw UsageError(fmt::format("--split {}: {}; {}", text, reason, kForms));
  return *read;
}

// Sizes of the parts for a class of n samples; counts that do not fit leave all to the rest.
struct Cut {
  std::vector<std::uint64_t> sizes;
  bool short_of_samples = false;
};

Cut cut_class(const std::vector<SplitPart>& parts, std::uint64_t n) {
  Cut cut;
  cut.sizes.assign(parts.size(), 0);
  std::uint64_t counted = 0;
  double fractions = 0;
  std::size_t rest = parts.size();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].kind == SplitPart::Kind::count) counted += parts[i].count;
    if (parts[i].kind == SplitPart::Kind::fraction) fractions += parts[i].fraction;
    if (parts[i].kind == SplitPart::Kind::rest) rest = i;
  }
  if (counted > 0) {
    cut.short_of_samples = n <= counted;
    for (std::size_t i = 0; i < parts.size(); ++i)
      if (!cut.short_of_samples) cut.sizes[i] = parts[i].count;
    cut.sizes[rest] = cut.short_of_samples ? n : n - counted;
    return cut;
  }
  std::vector<double> remainder(parts.size());
  std::uint64_t given = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const double share = i == rest ? 1.0 - fractions : parts[i].fraction;
    const double exact = share * static_cast<double>(n);
    // A hair above, so that 0.8 of 10 is 8 although 0.8 is not exact.
    cut.sizes[i] = static_cast<std::uint64_t>(std::floor(exact + 1e-9));
    remainder[i] = exact - static_cast<double>(cut.sizes[i]);
    given += cut.sizes[i];
  }
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return remainder[a] > remainder[b] + 1e-9;
  });
  for (std::size_t i = 0; given < n; i = (i + 1) % order.size(), ++given) ++cut.sizes[order[i]];
  return cut;
}

// Cuts the items class by class; part i goes to split_of_part[i].
std::uint64_t cut_items(Catalogue& catalogue, const std::vector<std::uint64_t>& items,
                        const std::vector<SplitPart>& parts,
                        const std::vector<std::uint32_t>& split_of_part, std::uint64_t seed) {
  const std::uint64_t unlabelled = catalogue.class_names.size();
  std::vector<std::vector<std::uint64_t>> classes(unlabelled + 1);
  for (const std::uint64_t item : items) {
    const auto labels = catalogue.labels(item);
    classes[labels.empty() ? unlabelled : labels[0]].push_back(item);
  }
  std::uint64_t short_classes = 0;
  for (std::uint64_t c = 0; c < classes.size(); ++c) {
    auto& members = classes[c];
    if (members.empty()) continue;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> drawn;
    for (std::uint64_t index = 0; index < members.size(); ++index)
      drawn.emplace_back(core::RandomStream(seed, core::RandomUse::split, {c, index}).next_u64(),
                         index);
    std::sort(drawn.begin(), drawn.end());
    const Cut cut = cut_class(parts, members.size());
    short_classes += cut.short_of_samples ? 1 : 0;
    std::uint64_t next = 0;
    for (std::size_t part = 0; part < parts.size(); ++part)
      for (std::uint64_t i = 0; i < cut.sizes[part]; ++i)
        catalogue.set_split(members[drawn[next++].second], split_of_part[part]);
  }
  return short_classes;
}

}  // namespace

std::vector<SplitPart> parse_split(const std::string& text) {
  std::vector<SplitPart> parts;
  std::set<std::string> names;
  double sum = 0;
  int rests = 0, counts = 0, fractions = 0;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(parse_part(text, text.substr(begin, end - begin)));
    begin = end + 1;
    const SplitPart& part = parts.back();
    if (!names.insert(part.name).second)
      throw UsageError(fmt::format("--split {}: '{}' stands there twice", text, part.name));
    rests += part.kind == SplitPart::Kind::rest;
    counts += part.kind == SplitPart::Kind::count;
    fractions += part.kind == SplitPart::Kind::fraction;
    sum += part.fraction;
  }
  const auto fail = [&](std::string_view reason) {
    throw UsageError(fmt::format("--split {}: {}; {}", text, reason, kForms));
  };
  if (rests > 1) fail("only one part may be 'rest'");
  if (counts > 0 && fractions > 0) fail("counts and fractions do not mix");
  if (counts > 0 && rests == 0) fail("counts need one part that is 'rest'");
  if (fractions > 0 && rests == 0 && std::abs(sum - 1) > 1e-9)
    fail("the fractions do not sum to 1");
  if (rests > 0 && sum >= 1) fail("nothing is left for the rest");
  return parts;
}

std::uint64_t apply_split(Catalogue& catalogue, const std::vector<SplitPart>& parts,
                          std::uint64_t seed) {
  std::vector<std::uint64_t> items(catalogue.size());
  std::iota(items.begin(), items.end(), std::uint64_t{0});
  std::vector<std::uint32_t> splits(parts.size());
  std::iota(splits.begin(), splits.end(), 0u);
  catalogue.splits.clear();
  for (const auto& part : parts) catalogue.splits.push_back(part.name);
  return cut_items(catalogue, items, parts, splits, seed);
}

std::vector<SplitPart> parse_carve(const std::string& text) {
  constexpr std::string_view kCarved =
      "write NAME=FRACTION or NAME=COUNT parts, as unlabelled=0.8 or validation=5";
  std::vector<SplitPart> parts;
  std::set<std::string> names = {"train"};
  double sum = 0;
  int fractions = 0;
  const auto fail = [&](const std::string& reason) {
    throw UsageError(fmt::format("--carve {}: {}; {}", text, reason, kCarved));
  };
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::string reason;
    const auto part = read_part(text.substr(begin, end - begin), reason);
    if (!part) fail(reason);
    if (part->kind == SplitPart::Kind::rest) fail("the rest stays in train");
    if (part->name == "train") fail("train is what is carved");
    if (!names.insert(part->name).second) fail(fmt::format("'{}' stands there twice", part->name));
    fractions += part->kind == SplitPart::Kind::fraction;
    sum += part->fraction;
    parts.push_back(*part);
    begin = end + 1;
  }
  if (fractions > 0 && fractions < static_cast<int>(parts.size()))
    fail("counts and fractions do not mix");
  if (sum >= 1) fail("nothing is left for train");
  return parts;
}

std::uint64_t carve_splits(Catalogue& catalogue, const std::vector<SplitPart>& parts,
                           std::uint64_t seed, const std::string& option) {
  auto& splits = catalogue.splits;
  const auto train = std::find(splits.begin(), splits.end(), "train");
  if (train == splits.end())
    throw UsageError(option + " carves out of split train, which the source does not have");
  const auto train_index = static_cast<std::uint32_t>(train - splits.begin());
  std::vector<SplitPart> all = {SplitPart{"train", SplitPart::Kind::rest, 0, 0}};
  std::vector<std::uint32_t> split_of_part = {train_index};
  for (const SplitPart& part : parts) {
    if (std::find(splits.begin(), splits.end(), part.name) != splits.end())
      throw UsageError(
          fmt::format("{}: the source has a {} split already; leave it out", option, part.name));
    split_of_part.push_back(static_cast<std::uint32_t>(splits.size()));
    splits.push_back(part.name);
    all.push_back(part);
  }
  std::vector<std::uint64_t> items;
  for (std::uint64_t i = 0; i < catalogue.size(); ++i)
    if (catalogue.split(i) == train_index) items.push_back(i);
  return cut_items(catalogue, items, all, split_of_part, seed);
}

std::uint64_t carve_validation(Catalogue& catalogue, double validation, std::uint64_t seed) {
  SplitPart part{"validation", SplitPart::Kind::fraction, validation, 0};
  if (validation >= 1) {
    part.kind = SplitPart::Kind::count;
    part.fraction = 0;
    part.count = static_cast<std::uint64_t>(validation);
  }
  return carve_splits(catalogue, {part}, seed, "--validation");
}

}  // namespace retort::io
