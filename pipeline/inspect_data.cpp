#include "pipeline/inspect_data.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "io/logit_store.h"
#include "io/packed_dataset.h"
#include "io/packed_shard.h"
#include "io/utf8.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kShownClasses = 10;
constexpr std::size_t kShownText = 60;    // bytes, up to the end of a character
constexpr std::uint64_t kShownTexts = 3;  // of each split

// What there is to know of texts: how long they are, which have no label or several.
void add_texts(Json& split, const io::PackedDataset& data) {
  std::uint64_t bytes = 0, longest = 0, empty = 0, unlabelled = 0, several = 0;
  for (std::uint64_t i = 0; i < data.size(); ++i) {
    const std::uint64_t length = data.row_bytes(i);
    bytes += length;
    longest = std::max(longest, length);
    empty += length == 0 ? 1 : 0;
    unlabelled += data.labels(i).empty() ? 1 : 0;
    several += data.labels(i).size() > 1 ? 1 : 0;
  }
  split["bytes"] = bytes;
  split["longest"] = longest;
  split["empty"] = empty;
  split["unlabelled"] = unlabelled;
  split["several_labels"] = several;
}

// The first texts of a split with their classes.
void add_examples(Json& examples, const std::string& split, const io::PackedDataset& data) {
  std::vector<std::byte> row;
  for (std::uint64_t i = 0; i < std::min(data.size(), kShownTexts); ++i) {
    data.read(i, row);
    const std::string_view text(reinterpret_cast<const char*>(row.data()), row.size());
    std::size_t shown = 0;
    while (shown < text.size() && shown < kShownText) shown += io::utf8_step(text, shown).bytes;
    std::vector<std::string> labels;
    for (const std::uint32_t label : data.labels(i))
      labels.push_back(data.facts().class_names.at(label));
    examples.push_back(
        {{"split", split},
         {"sample", i},
         {"labels", labels.empty() ? "-" : fmt::format("{}", fmt::join(labels, ", "))},
         {"text", std::string(text.substr(0, shown)) + (shown < text.size() ? "..." : "")}});
  }
}

/// What a part of a logit folder holds, and what it came from.
void add_logits(Json& json, const io::LogitFacts& facts) {
  const auto& layout = facts.layout;
  json["classes"] = layout.classes;
  if (layout.form == io::RowForm::sampled) {
    json["rows"] = "draws";
    json["draws"] = layout.sampling.draws;
    json["draw_exponent"] = layout.sampling.exponent;
    json["draw_temperature"] = layout.sampling.temperature;
  } else if (layout.form == io::RowForm::top_h) {
    json["rows"] = "best labels";
    json["top_h"] = layout.top_k;
  } else {
    json["rows"] = "best classes";
    json["top_k"] = layout.top_k;
    json["precision"] =
        layout.precision == io::LogitPrecision::fp32 ? "fp32" : "fp32 maximum, fp16 gaps";
  }
  if (layout.form != io::RowForm::top_h) json["temperatures"] = layout.temperatures;
  json["id_bits"] = layout.id_bits();
  json[layout.ragged() ? "most_bytes_per_row" : "bytes_per_row"] = layout.most_row_bytes();
  json["samples"] = facts.samples;
  json["passes"] = facts.passes;
  json["samples_per_shard"] = facts.shard_samples;
  json["split"] = facts.split;
  json["seed"] = facts.seed;
  json["augment"] = facts.augment;
  json["teacher_digest"] = facts.teacher_digest;
  if (!facts.class_map.empty()) json["class_map"] = facts.class_map;
  json["data_digest"] = facts.data_digest;
  json["class_digest"] = facts.class_digest;
}

}  // namespace

void add_manifest(Json& json, const io::Manifest& manifest) {
  json["format_version"] = manifest.format_version;
  json["content_digest"] = manifest.content_digest;
  json["recipe_hash"] = manifest.recipe_hash;
  std::uint64_t bytes = 0;
  for (const auto& member : manifest.members) bytes += member.seal.size;
  json["members"] = manifest.members.size();
  json["bytes"] = bytes;
}

Json inspect_dataset(const fs::path& folder, const io::Manifest& manifest) {
  Json json = {{"what", "packed dataset"}};
  add_manifest(json, manifest);
  Json splits = Json::array(), examples = Json::array();
  for (const auto& entry : manifest.facts.at("splits")) {
    const io::PackedDataset data(folder, entry.at("name").get<std::string>());
    const auto& facts = data.facts();
    const auto counts = data.class_counts();
    if (splits.empty()) {
      const bool text = facts.form == io::SampleForm::text;
      json["form"] = std::string(io::name_of(facts.form)) + (text ? "" : " images");
      if (!text) {
        json["height"] = facts.height;
        json["width"] = facts.width;
        json["channels"] = facts.channels;
      }
      json["classes"] = facts.class_names.size();
      json["class_digest"] = data.class_digest();
      const auto shown = std::min(kShownClasses, facts.class_names.size());
      json["class_names"] =
          std::vector<std::string>(facts.class_names.begin(),
                                   facts.class_names.begin() + static_cast<std::ptrdiff_t>(shown));
      if (shown < facts.class_names.size()) json["class_names"].push_back("...");
    }
    const auto [least, most] = std::minmax_element(counts.begin(), counts.end());
    splits.push_back({{"split", entry.at("name")},
                      {"samples", data.size()},
                      {"least_per_class", counts.empty() ? 0 : *least},
                      {"most_per_class", counts.empty() ? 0 : *most},
                      {"digest", data.digest()}});
    if (facts.form != io::SampleForm::text) continue;
    add_texts(splits.back(), data);
    add_examples(examples, entry.at("name").get<std::string>(), data);
  }
  json["splits"] = splits;
  if (!examples.empty()) json["examples"] = examples;
  return json;
}

Json inspect_logits(const fs::path& folder, const io::Manifest& manifest) {
  using enum io::LogitPart;
  Json json = {{"what", "logits"}};
  add_manifest(json, manifest);
  const bool both = has_part(manifest.facts, labelled) && has_part(manifest.facts, unlabelled);
  const auto part = both || !has_part(manifest.facts, unlabelled) ? labelled : unlabelled;
  add_logits(json, io::LogitStore(folder, part).facts());
  if (both) {
    Json other = Json::object();
    add_logits(other, io::LogitStore(folder, unlabelled).facts());
    json["unlabelled"] = other;
  }
  return json;
}

}  // namespace retort::pipeline
