#include "io/packed_shard.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "io/hdf5.h"
#include "io/json_text.h"

namespace retort::io {
namespace {

constexpr std::size_t kNamedBadSamples = 20;  // per shard; bad_items has all

nlohmann::json to_json(const PackedTable& table) {
  return {{"offset", table.offset}, {"bytes", table.bytes}, {"crc32c", table.crc32c}};
}

PackedTable table_of(const nlohmann::json& json) {
  return {json.at("offset").get<std::uint64_t>(), json.at("bytes").get<std::uint64_t>(),
          json.at("crc32c").get<std::uint32_t>()};
}

}  // namespace

std::string packed_shard_name(const std::string& split, std::uint64_t shard) {
  return fmt::format("{}/shard-{:06}.h5", split, shard);
}

std::string_view name_of(SampleForm form) {
  switch (form) {
    case SampleForm::raw_image:
      return "raw";
    case SampleForm::encoded_image:
      return "encoded";
    case SampleForm::text:
      return "text";
  }
  throw core::InternalError("a sample form without a name");
}

SampleForm sample_form_of(std::string_view name, const std::string& where) {
  if (name == "raw") return SampleForm::raw_image;
  if (name == "encoded") return SampleForm::encoded_image;
  if (name == "text") return SampleForm::text;
  throw core::DataError(fmt::format("{}: form '{}' is unknown to this version", where, name));
}

nlohmann::json PackedShardFacts::to_json() const {
  nlohmann::json json = {{"split", split},
                         {"shard", shard},
                         {"first_item", items.begin},
                         {"end_item", items.end},
                         {"samples", samples},
                         {"row_bytes", row_bytes},
                         {"rows", {{"offset", rows.offset}, {"bytes", rows.bytes}}},
                         {"row_crc", io::to_json(row_crc)},
                         {"label_begin", io::to_json(label_begin)},
                         {"labels", io::to_json(labels)},
                         {"digest", digest.text()},
                         {"bad_items", bad_items}};
  if (row_bytes == 0) json["row_begin"] = io::to_json(row_begin);
  for (const BadSample& sample : bad_samples)
    json["bad_samples"].push_back(
        {{"item", sample.item}, {"name", sample.name}, {"reason", sample.reason}});
  return json;
}

PackedShardFacts PackedShardFacts::from_json(const nlohmann::json& json, const std::string& where) {
  try {
    PackedShardFacts facts;
    facts.split = json.at("split").get<std::string>();
    facts.shard = json.at("shard").get<std::uint64_t>();
    facts.items = {json.at("first_item").get<std::uint64_t>(),
                   json.at("end_item").get<std::uint64_t>()};
    facts.samples = json.at("samples").get<std::uint64_t>();
    facts.row_bytes = json.at("row_bytes").get<std::uint64_t>();
    facts.rows = {json.at("rows").at("offset").get<std::uint64_t>(),
                  json.at("rows").at("bytes").get<std::uint64_t>(), 0};
    facts.row_crc = table_of(json.at("row_crc"));
    if (facts.row_bytes == 0) facts.row_begin = table_of(json.at("row_begin"));
    facts.label_begin = table_of(json.at("label_begin"));
    facts.labels = table_of(json.at("labels"));
    facts.digest = SequenceDigest::parse(json.at("digest").get<std::string>(), where);
    facts.bad_items = json.at("bad_items").get<std::vector<std::uint64_t>>();
    if (json.contains("bad_samples"))
      for (const auto& bad : json.at("bad_samples"))
        facts.bad_samples.push_back({bad.at("item").get<std::uint64_t>(),
                                     bad.at("name").get<std::string>(),
                                     bad.at("reason").get<std::string>()});
    return facts;
  } catch (const nlohmann::json::exception& e) {
    throw core::DataError(
        fmt::format("{}: facts of a shard are malformed: {}", where, parser_message(e)));
  }
}

PackedShardBuilder::PackedShardBuilder(SampleForm form, ImageShape shape, std::string split,
                                       std::uint64_t shard, core::Range items)
    : form_(form), shape_(shape) {
  facts_.split = std::move(split);
  facts_.shard = shard;
  facts_.items = items;
  if (form == SampleForm::raw_image) {
    facts_.row_bytes = shape.elements();
    rows_.reserve(items.size() * facts_.row_bytes);
  }
}

void PackedShardBuilder::add(std::span<const std::byte> payload,
                             std::span<const std::uint32_t> labels) {
  if (form_ == SampleForm::raw_image && payload.size() != facts_.row_bytes)
    throw core::InternalError(
        fmt::format("a raw sample has {} bytes instead of {}", payload.size(), facts_.row_bytes));
  rows_.insert(rows_.end(), payload.begin(), payload.end());
  row_begin_.push_back(rows_.size());
  row_crc_.push_back(core::crc32c(payload));
  labels_.insert(labels_.end(), labels.begin(), labels.end());
  label_begin_.push_back(labels_.size());
  facts_.digest.add(payload, labels);
  ++facts_.samples;
}

void PackedShardBuilder::add_bad(BadSample bad) {
  facts_.bad_items.push_back(bad.item);
  if (facts_.bad_samples.size() < kNamedBadSamples) facts_.bad_samples.push_back(std::move(bad));
}

PackedShardBuilder::Result PackedShardBuilder::finish() {
  const std::uint64_t tables = 32 * (facts_.samples + 1) + 4 * labels_.size() + (1u << 16);
  Hdf5Writer writer(kPackedShardKind, kPackedFormatVersion, rows_.size() + tables);
  writer.attribute("", "form", name_of(form_));
  writer.attribute("", "split", facts_.split);
  writer.attribute("", "shard", facts_.shard);
  writer.attribute("", "height", std::uint64_t{shape_.height});
  writer.attribute("", "width", std::uint64_t{shape_.width});
  writer.attribute("", "channels", std::uint64_t{shape_.channels});
  const std::uint64_t n = facts_.samples;
  const bool ragged = form_ != SampleForm::raw_image;
  // The small tables first: they are what a reader fetches at open.
  writer.dataset("row_crc", DType::u32, std::array{n}, bytes_of(row_crc_));
  if (ragged) writer.dataset("row_begin", DType::u64, std::array{n + 1}, bytes_of(row_begin_));
  writer.dataset("label_begin", DType::u64, std::array{n + 1}, bytes_of(label_begin_));
  writer.dataset("labels", DType::u32, std::array{std::uint64_t{labels_.size()}},
                 bytes_of(labels_));
  if (ragged) {
    writer.dataset("rows", DType::u8, std::array{std::uint64_t{rows_.size()}}, rows_);
  } else {
    writer.dataset("rows", DType::u8, std::array{n, facts_.row_bytes}, rows_);
  }
  Result result;
  const std::uint64_t row_bytes = rows_.size();
  std::vector<std::byte>().swap(rows_);
  // Where libhdf5 put the tables is its business: ask it, on the finished image.
  result.image = writer.finish();
  const Hdf5Reader reader(result.image, "a new shard", kPackedShardKind, kPackedFormatVersion);
  const auto table = [&](const char* name, std::span<const std::byte> bytes) {
    return PackedTable{bytes.empty() ? 0 : reader.offset(name), bytes.size(), core::crc32c(bytes)};
  };
  facts_.rows = {row_bytes == 0 ? 0 : reader.offset("rows"), row_bytes, 0};
  facts_.row_crc = table("row_crc", bytes_of(row_crc_));
  if (ragged) facts_.row_begin = table("row_begin", bytes_of(row_begin_));
  facts_.label_begin = table("label_begin", bytes_of(label_begin_));
  facts_.labels = table("labels", bytes_of(labels_));
  result.facts = std::move(facts_);
  return result;
}

std::vector<std::byte> packed_classes_image(const std::vector<std::string>& class_names) {
  Hdf5Writer writer(kPackedClassesKind, kPackedFormatVersion);
  writer.attribute("", "class_digest", packed_class_digest(class_names));
  writer.strings("names", class_names);
  return writer.finish();
}

std::string packed_class_digest(const std::vector<std::string>& class_names) {
  core::Sha256 sha;
  sha.update("retort classes 1").update_u64(class_names.size());
  for (const auto& name : class_names) sha.update_u64(name.size()).update(name);
  return sha.hex();
}

std::string packed_split_digest(SampleForm form, ImageShape shape, const std::string& class_digest,
                                const SequenceDigest& samples) {
  core::Sha256 sha;
  sha.update("retort packed split 1").update(name_of(form));
  sha.update_u64(shape.height).update_u64(shape.width).update_u64(shape.channels);
  return sha.update(class_digest).update(samples.text()).hex();
}

}  // namespace retort::io
