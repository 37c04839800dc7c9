#include "io/label_matrix.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "io/fixed_sum.h"
#include "io/json_text.h"
#include "io/packed_dataset.h"
#include "io/packed_shard.h"

namespace retort::io {
namespace {

constexpr std::uint64_t kMostClassesPerFile = std::uint64_t{1} << 21;

[[noreturn]] void refuse(const std::string& where, const std::string& why) {
  throw core::DataError(
      fmt::format("{}: is no part of a label matrix: {}; run smooth again", where, why));
}

void check_row(const LabelRows& rows, std::uint64_t r, const LabelMatrixFacts& facts,
               const std::string& where) {
  const std::uint64_t own = rows.classes.begin + r;
  const std::uint64_t begin = rows.row_begin[r], end = rows.row_begin[r + 1];
  const auto fail = [&](const std::string& why) {
    refuse(where, fmt::format("the row of class {} {}", own, why));
  };
  if (end <= begin) fail("is empty");
  if (end - begin > facts.top_m)
    fail(fmt::format("has {} entries, {} are the most", end - begin, facts.top_m));
  for (std::uint64_t at = begin; at < end; ++at)
    if (!(rows.weights[at] > 0 && rows.weights[at] <= 1)) fail("has a weight outside (0, 1]");
  if (rows.status[r] > LabelStatus::alone) fail("has an unknown status");
  if (rows.status[r] != LabelStatus::ok &&
      (end - begin != 1 || rows.ids[begin] != own || rows.weights[begin] != 1))
    fail("has a status that only one-hot rows have");
  FixedSum kept;
  for (std::uint64_t at = begin; at < end; ++at) kept += FixedSum(rows.weights[at]);
  FixedSum rest = FixedSum::from_words(rows.normaliser[r]);
  const double normaliser = rest.value();
  if (!(kept.value() <= normaliser)) fail("weighs more than its normaliser");
  rest -= kept;
  if (rest.value() / normaliser != rows.discarded[r])
    fail("does not discard what its normaliser leaves over");
  for (std::uint64_t at = begin; at < end; ++at) {
    if (rows.ids[at] >= facts.classes)
      fail(fmt::format("names class {} of {}", rows.ids[at], facts.classes));
    if (rows.ids[at] == own && at != begin) fail("holds the class itself behind another");
    const bool first_other = at == begin || (at == begin + 1 && rows.ids[begin] == own);
    if (first_other) continue;
    if (rows.weights[at] > rows.weights[at - 1]) fail("is not in order");
    // Weights of `clamp` are the cosines; others may be equal where cosines are not.
    if (facts.negatives == "clamp" && rows.weights[at] == rows.weights[at - 1] &&
        rows.ids[at] < rows.ids[at - 1])
      fail("is not in order");
  }
  if (rows.status[r] == LabelStatus::ok && (facts.self == "keep") != (rows.ids[begin] == own))
    fail(facts.self == "keep" ? "does not begin with the class itself"
                              : "holds the class itself, which was to be left out");
  std::vector<std::uint32_t> named(rows.ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                   rows.ids.begin() + static_cast<std::ptrdiff_t>(end));
  std::sort(named.begin(), named.end());
  if (const auto twice = std::adjacent_find(named.begin(), named.end()); twice != named.end())
    fail(fmt::format("names class {} twice", *twice));
}

}  // namespace

nlohmann::json LabelMatrixFacts::to_json() const {
  return {{"classes", classes},
          {"features", features},
          {"top_m", top_m},
          {"class_digest", class_digest},
          {"weight_digest", weight_digest},
          {"negatives", negatives},
          {"self", self},
          {"floor", floor},
          {"temperature", temperature},
          {"norm_floor", norm_floor},
          {"non_finite", non_finite},
          {"bias", bias},
          {"precision", precision},
          {"cosine_bound", cosine_bound}};
}

LabelMatrixFacts LabelMatrixFacts::from_json(const nlohmann::json& json, const std::string& where) {
  return read_fields(where, [&] {
    LabelMatrixFacts facts;
    json.at("classes").get_to(facts.classes);
    json.at("features").get_to(facts.features);
    json.at("top_m").get_to(facts.top_m);
    json.at("class_digest").get_to(facts.class_digest);
    json.at("weight_digest").get_to(facts.weight_digest);
    json.at("negatives").get_to(facts.negatives);
    json.at("self").get_to(facts.self);
    json.at("floor").get_to(facts.floor);
    json.at("temperature").get_to(facts.temperature);
    json.at("norm_floor").get_to(facts.norm_floor);
    json.at("non_finite").get_to(facts.non_finite);
    json.at("bias").get_to(facts.bias);
    json.at("precision").get_to(facts.precision);
    json.at("cosine_bound").get_to(facts.cosine_bound);
    if (facts.classes == 0 || facts.top_m == 0 || facts.top_m > facts.classes)
      throw core::DataError(fmt::format("{} is damaged: {} entries of {} classes", where,
                                        facts.top_m, facts.classes));
    return facts;
  });
}

std::uint64_t label_classes_per_file(const LabelMatrixFacts& facts) {
  return std::clamp<std::uint64_t>(kLabelEntriesPerFile / facts.top_m, 1, kMostClassesPerFile);
}

std::string label_file_name(std::uint64_t index) { return fmt::format("labels-{:06}.h5", index); }

std::vector<std::byte> label_rows_image(const LabelMatrixFacts& facts, const LabelRows& rows) {
  const std::uint64_t n = rows.classes.size(), entries = rows.ids.size();
  Hdf5Writer writer(kLabelRowsKind, kLabelMatrixVersion, 53 * n + 12 * entries + (1U << 16));
  writer.attribute("", "first_class", rows.classes.begin);
  writer.attribute("", "classes", facts.classes);
  writer.attribute("", "top_m", std::uint64_t{facts.top_m});
  writer.attribute("", "class_digest", facts.class_digest);
  writer.attribute("", "weight_digest", facts.weight_digest);
  writer.attribute("", "method", canonical_text(facts.to_json()));
  writer.dataset("row_ptr", DType::u64, std::array{n + 1}, bytes_of(rows.row_begin));
  writer.dataset("class_id", DType::u32, std::array{entries}, bytes_of(rows.ids));
  writer.dataset("weight", DType::f64, std::array{entries}, bytes_of(rows.weights));
  writer.dataset("normaliser", DType::u64, std::array{n, std::uint64_t{3}},
                 bytes_of(rows.normaliser));
  writer.dataset("discarded", DType::f64, std::array{n}, bytes_of(rows.discarded));
  writer.dataset("status", DType::u8, std::array{n}, bytes_of(rows.status));
  return writer.finish();
}

Manifest label_matrix_manifest(const LabelMatrixFacts& facts, std::vector<Member> members) {
  Manifest manifest;
  manifest.kind = kLabelMatrixKind;
  manifest.format_version = kLabelMatrixVersion;
  manifest.facts = facts.to_json();
  manifest.members = std::move(members);
  manifest.content_digest = content_digest(manifest);
  return manifest;
}

LabelMatrix::LabelMatrix(std::filesystem::path folder) : folder_(std::move(folder)) {
  const Manifest manifest = read_manifest(folder_, kLabelMatrixKind);
  const std::string where = folder_.string();
  if (manifest.format_version != kLabelMatrixVersion)
    throw core::DataError(
        fmt::format("{}: format version {} of a label matrix; this program reads {}", where,
                    manifest.format_version, kLabelMatrixVersion));
  facts_ = LabelMatrixFacts::from_json(manifest.facts, where);
  digest_ = manifest.content_digest;
  if (digest_ != content_digest(manifest))
    refuse(where, "its content digest is not that of its members");
  class_names_ = packed_class_names(folder_, manifest);
  if (class_names_.size() != facts_.classes ||
      packed_class_digest(class_names_) != facts_.class_digest)
    refuse(where, "its class names are not those that its manifest means");
  for (const Member& member : manifest.members)
    if (member.name != kPackedClassesName) files_.push_back(member);
  const std::uint64_t per_file = label_classes_per_file(facts_);
  for (std::uint64_t i = 0; i < files_.size(); ++i)
    if (files_[i].name != label_file_name(i)) refuse(where, label_file_name(i) + " is missing");
  if (files_.size() != (facts_.classes + per_file - 1) / per_file)
    refuse(where, fmt::format("{} files for {} classes", files_.size(), facts_.classes));
}

LabelRows LabelMatrix::read(std::uint64_t file) const {
  return parse(file, {read_verified(path(file), files_[file].seal), path(file).string(),
                      kLabelRowsKind, kLabelMatrixVersion});
}

std::pair<LabelRows, LabelMatrix::Entries> LabelMatrix::read_with_entries(
    std::uint64_t file) const {
  constexpr std::uint64_t kPart = 1 << 12;  // a row is hardly longer
  std::vector<std::byte> image = read_verified(path(file), files_[file].seal);
  PartChecksums checksums(image, kPart);
  const Hdf5Reader reader(std::move(image), path(file).string(), kLabelRowsKind,
                          kLabelMatrixVersion);
  return {parse(file, reader),
          {std::move(checksums), reader.offset("class_id"), reader.offset("weight")}};
}

LabelRows LabelMatrix::parse(std::uint64_t file, const Hdf5Reader& reader) const {
  const std::string where = path(file).string();
  const std::uint64_t per_file = label_classes_per_file(facts_);
  LabelRows rows;
  rows.classes = {file * per_file, std::min(facts_.classes, (file + 1) * per_file)};
  const std::uint64_t n = rows.classes.size();
  if (reader.text("", "method") != canonical_text(facts_.to_json()) ||
      reader.number("", "first_class") != rows.classes.begin)
    refuse(where, "it belongs to another matrix, or to another place of it");
  rows.row_begin = reader.values<std::uint64_t>("row_ptr");
  rows.ids = reader.values<std::uint32_t>("class_id");
  rows.weights = reader.values<double>("weight");
  rows.discarded = reader.values<double>("discarded");
  const auto words = reader.values<std::uint64_t>("normaliser");
  const auto status = reader.values<std::uint8_t>("status");
  if (rows.row_begin.size() != n + 1 || rows.discarded.size() != n || words.size() != 3 * n ||
      status.size() != n || rows.weights.size() != rows.ids.size() || rows.row_begin.front() != 0 ||
      rows.row_begin.back() != rows.ids.size() ||
      !std::is_sorted(rows.row_begin.begin(), rows.row_begin.end()))
    refuse(where, "its tables do not fit each other");
  for (std::uint64_t r = 0; r < n; ++r) {
    rows.normaliser.push_back({words[3 * r], words[3 * r + 1], words[3 * r + 2]});
    rows.status.push_back(static_cast<LabelStatus>(status[r]));
    check_row(rows, r, facts_, where);
  }
  return rows;
}

LabelRows LabelMatrix::read() const {
  LabelRows all;
  for (std::uint64_t file = 0; file < files(); ++file) append_rows(all, read(file));
  return all;
}

void append_rows(LabelRows& rows, const LabelRows& part) {
  if (rows.classes.empty()) rows.classes = {part.classes.begin, part.classes.begin};
  if (rows.classes.end != part.classes.begin)
    throw core::InternalError(fmt::format("label rows of class {} are joined to those before {}",
                                          part.classes.begin, rows.classes.end));
  rows.classes.end = part.classes.end;
  const std::uint64_t before = rows.ids.size();
  for (std::size_t r = 1; r < part.row_begin.size(); ++r)
    rows.row_begin.push_back(before + part.row_begin[r]);
  const auto join = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  join(rows.ids, part.ids);
  join(rows.weights, part.weights);
  join(rows.normaliser, part.normaliser);
  join(rows.discarded, part.discarded);
  join(rows.status, part.status);
}

}  // namespace retort::io
