// What a logit folder says about itself: facts as JSON and as attributes of a shard.
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "io/hdf5.h"
#include "io/logit_store.h"

namespace retort::io {
namespace {

constexpr std::string_view kShardKind = "logit_shard";
constexpr std::uint32_t kShardVersion = 1;
// The kind of rows in a folder. Sampled (ragged) and unlabelled top-H rows get words of their own.
constexpr std::string_view kTopKRows = "top_k";
constexpr std::uint64_t kLargestMember = std::uint64_t{256} << 20;

constexpr std::array<std::pair<IdForm, std::string_view>, 3> kIdWords = {
    {{IdForm::packed, "packed"}, {IdForm::u16, "u16"}, {IdForm::u32, "u32"}}};
constexpr std::array<std::pair<LogitPrecision, std::string_view>, 2> kPrecisionWords = {
    {{LogitPrecision::fp16_gaps, "fp16_gaps"}, {LogitPrecision::fp32, "fp32"}}};

template <class Words, class E>
std::string word_of(const Words& words, E value) {
  for (const auto& [known, word] : words)
    if (known == value) return std::string(word);
  throw core::InternalError("logit facts: an enumeration value without a word");
}

template <class E, class Words>
E value_of(const Words& words, const std::string& text, const std::string& where,
           std::string_view field) {
  for (const auto& [value, word] : words)
    if (word == text) return value;
  throw core::DataError(where + ": logits have " + std::string(field) + " \"" + text +
                        "\", which this version doesn't know; read them with a newer one");
}

std::string number_text(std::string_view format, std::uint64_t value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), std::string(format).c_str(),
                static_cast<unsigned long long>(value));
  return text.data();
}

}  // namespace

nlohmann::json LogitFacts::to_json() const {
  nlohmann::json json = {{"rows", kTopKRows},
                         {"classes", layout.classes},
                         {"top_k", layout.top_k},
                         {"ids", word_of(kIdWords, layout.ids)},
                         {"precision", word_of(kPrecisionWords, layout.precision)},
                         {"temperatures", layout.temperatures},
                         {"row_bytes", layout.row_bytes()},
                         {"samples", samples},
                         {"passes", passes},
                         {"shard_samples", shard_samples},
                         {"seed", seed},
                         {"augment", augment},
                         {"data_digest", data_digest},
                         {"class_digest", class_digest},
                         {"teacher_digest", teacher_digest},
                         {"split", split}};
  if (!class_map.empty()) json["class_map"] = class_map;
  return json;
}

LogitFacts LogitFacts::from_json(const nlohmann::json& json, const std::string& where) {
  const auto fail = [&where](const std::string& what) {
    throw core::DataError(where + ": " + what + "; it was not written by teach, or was changed");
  };
  try {
    const auto rows = json.at("rows").get<std::string>();
    if (rows != kTopKRows)
      throw core::DataError(where + ": logits have rows of kind \"" + rows + "\", only \"" +
                            std::string(kTopKRows) +
                            "\" is known here; capture with teach --top-k");
    // Numbers must be whole and not negative: nlohmann would convert silently.
    const auto number = [&](const char* name) {
      const nlohmann::json& value = json.at(name);
      if (!value.is_number_unsigned()) fail(std::string(name) + " is no whole number");
      return value.get<std::uint64_t>();
    };
    LogitFacts facts;
    facts.layout.classes = number("classes");
    const std::uint64_t top_k = number("top_k");
    if (top_k > 0xffffffffu) fail("top_k is " + std::to_string(top_k));
    facts.layout.top_k = static_cast<std::uint32_t>(top_k);
    facts.layout.ids = value_of<IdForm>(kIdWords, json.at("ids").get<std::string>(), where, "ids");
    facts.layout.precision = value_of<LogitPrecision>(
        kPrecisionWords, json.at("precision").get<std::string>(), where, "precision");
    facts.layout.temperatures = json.at("temperatures").get<std::vector<double>>();
    facts.samples = number("samples");
    facts.passes = number("passes");
    facts.shard_samples = number("shard_samples");
    facts.seed = number("seed");
    facts.augment = json.at("augment").get<std::string>();
    facts.data_digest = json.at("data_digest").get<std::string>();
    facts.class_digest = json.at("class_digest").get<std::string>();
    facts.teacher_digest = json.at("teacher_digest").get<std::string>();
    facts.split = json.at("split").get<std::string>();
    facts.class_map = json.value("class_map", "");
    try {
      facts.layout.validate();
    } catch (const core::UsageError& error) {
      fail(error.what());
    }
    if (number("row_bytes") != facts.layout.row_bytes())
      fail("row_bytes is " + std::to_string(number("row_bytes")) + ", its layout gives " +
           std::to_string(facts.layout.row_bytes()));
    if (facts.passes == 0 || facts.shard_samples == 0) fail("passes or shard_samples is 0");
    return facts;
  } catch (const nlohmann::json::exception& error) {
    fail(std::string("facts of logits can't be read (") + error.what() + ")");
  }
  throw core::InternalError("logit facts: unreachable");
}

std::vector<std::byte> logit_shard_image(const LogitFacts& facts, std::uint64_t pass,
                                         core::Range samples, std::span<const std::byte> rows) {
  const LogitLayout& layout = facts.layout;
  const std::string where = "logit shard of samples " + std::to_string(samples.begin) + ".." +
                            std::to_string(samples.end);
  if (pass >= facts.passes || samples.begin > samples.end || samples.end > facts.samples)
    throw core::InternalError(where + ": outside its facts");
  if (rows.size() != samples.size() * layout.row_bytes())
    throw core::InternalError(where + ": " + std::to_string(rows.size()) + " bytes of rows");
  if (rows.size() > kLargestMember)
    throw core::InternalError(where + ": above 256 MB; use fewer samples per shard");
  Hdf5Writer file(kShardKind, kShardVersion);
  const auto number = [&file](std::string_view name, std::uint64_t value) {
    file.attribute("", name, value);
  };
  const auto text = [&file](std::string_view name, std::string_view value) {
    file.attribute("", name, value);
  };
  text("rows", kTopKRows);
  number("pass", pass);
  number("first_sample", samples.begin);
  number("classes", layout.classes);
  number("top_k", layout.top_k);
  text("ids", word_of(kIdWords, layout.ids));
  number("id_bits", static_cast<std::uint64_t>(layout.id_bits()));
  text("precision", word_of(kPrecisionWords, layout.precision));
  file.attribute("", "temperatures", std::span<const double>(layout.temperatures));
  number("samples", facts.samples);
  number("passes", facts.passes);
  number("shard_samples", facts.shard_samples);
  number("seed", facts.seed);
  text("augment", facts.augment);
  text("data_digest", facts.data_digest);
  text("class_digest", facts.class_digest);
  text("teacher_digest", facts.teacher_digest);
  text("split", facts.split);
  if (!facts.class_map.empty()) text("class_map", facts.class_map);
  const std::array<std::uint64_t, 2> shape = {samples.size(), layout.row_bytes()};
  file.dataset("rows", DType::u8, shape, rows);
  return file.finish();
}

std::string logit_shard_name(std::uint64_t pass, std::uint64_t shard) {
  return number_text("pass-%02llu", pass) + number_text("/shard-%06llu.h5", shard);
}

std::uint64_t logit_shard_count(const LogitFacts& facts) {
  return facts.samples / facts.shard_samples + (facts.samples % facts.shard_samples != 0 ? 1 : 0);
}

core::Range logit_shard_range(const LogitFacts& facts, std::uint64_t shard) {
  const std::uint64_t begin = std::min(facts.samples, shard * facts.shard_samples);
  return {begin, begin + std::min(facts.shard_samples, facts.samples - begin)};
}

std::uint64_t logit_rows_offset(std::vector<std::byte> image, const std::string& where) {
  const Hdf5Reader file(std::move(image), where, kShardKind, kShardVersion);
  return file.offset("rows");
}

nlohmann::json logit_member_facts(std::uint64_t rows_offset) {
  return {{"rows_offset", rows_offset}};
}

}  // namespace retort::io
