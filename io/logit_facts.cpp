// What a logit folder says about itself: facts as JSON and as attributes of a shard.
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/hash.h"
#include "io/hdf5.h"
#include "io/json_text.h"
#include "io/logit_store.h"

namespace retort::io {
namespace {

constexpr std::string_view kShardKind = "logit_shard";
constexpr std::uint32_t kShardVersion = 1;
constexpr std::string_view kUnlabelled = "unlabelled";  // in the facts of a manifest

constexpr std::array<std::pair<RowForm, std::string_view>, 3> kFormWords = {
    {{RowForm::top_k, "top_k"}, {RowForm::sampled, "sampled"}, {RowForm::top_h, "top_h"}}};
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

/// What only rows of one form have.
nlohmann::json form_facts(const LogitLayout& layout) {
  switch (layout.form) {
    case RowForm::top_k:
      return {{"top_k", layout.top_k},
              {"precision", word_of(kPrecisionWords, layout.precision)},
              {"temperatures", layout.temperatures}};
    case RowForm::sampled:
      return {{"draws", layout.sampling.draws},
              {"draw_exponent", layout.sampling.exponent},
              {"draw_temperature", layout.sampling.temperature},
              {"temperatures", layout.temperatures}};
    case RowForm::top_h:
      return {{"top_h", layout.top_k}};
  }
  throw core::InternalError("logit facts: an unknown form of rows");
}

std::string number_text(std::string_view format, std::uint64_t value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), std::string(format).c_str(),
                static_cast<unsigned long long>(value));
  return text.data();
}

}  // namespace

nlohmann::json LogitFacts::to_json() const {
  nlohmann::json json = form_facts(layout);
  json.update({{"rows", word_of(kFormWords, layout.form)},
               {"classes", layout.classes},
               {"ids", word_of(kIdWords, layout.ids)},
               {"row_bytes", layout.row_bytes()},
               {"samples", samples},
               {"passes", passes},
               {"shard_samples", shard_samples},
               {"seed", seed},
               {"augment", augment},
               {"data_digest", data_digest},
               {"class_digest", class_digest},
               {"teacher_digest", teacher_digest},
               {"split", split}});
  if (!class_map.empty()) json["class_map"] = class_map;
  return json;
}

LogitFacts LogitFacts::from_json(const nlohmann::json& json, const std::string& where) {
  const auto fail = [&where](const std::string& what) {
    throw core::DataError(where + ": " + what + "; it was not written by teach, or was changed");
  };
  try {
    LogitFacts facts;
    LogitLayout& layout = facts.layout;
    layout.form =
        value_of<RowForm>(kFormWords, json.at("rows").get<std::string>(), where, "rows of kind");
    // Numbers must be whole and not negative: nlohmann would convert silently.
    const auto number = [&](const char* name) {
      const nlohmann::json& value = json.at(name);
      if (!value.is_number_unsigned()) fail(std::string(name) + " is no whole number");
      return value.get<std::uint64_t>();
    };
    const auto small_number = [&](const char* name) {
      const std::uint64_t value = number(name);
      if (value > 0xffffffffu) fail(std::string(name) + " is " + std::to_string(value));
      return static_cast<std::uint32_t>(value);
    };
    layout.classes = number("classes");
    layout.ids = value_of<IdForm>(kIdWords, json.at("ids").get<std::string>(), where, "ids");
    if (layout.form == RowForm::sampled) {
      layout.sampling = {small_number("draws"), json.at("draw_exponent").get<double>(),
                         json.at("draw_temperature").get<double>()};
    } else {
      layout.top_k = small_number(layout.form == RowForm::top_k ? "top_k" : "top_h");
    }
    if (layout.form == RowForm::top_k)
      layout.precision = value_of<LogitPrecision>(
          kPrecisionWords, json.at("precision").get<std::string>(), where, "precision");
    if (layout.form != RowForm::top_h)
      layout.temperatures = json.at("temperatures").get<std::vector<double>>();
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
      layout.validate();
    } catch (const core::UsageError& error) {
      fail(error.what());
    }
    if (number("row_bytes") != layout.row_bytes())
      fail("row_bytes is " + std::to_string(number("row_bytes")) + ", its layout gives " +
           std::to_string(layout.row_bytes()));
    if (facts.passes == 0 || facts.shard_samples == 0) fail("passes or shard_samples is 0");
    return facts;
  } catch (const nlohmann::json::exception& error) {
    fail(std::string("facts of logits can't be read (") + parser_message(error) + ")");
  }
  throw core::InternalError("logit facts: unreachable");
}

bool has_part(const nlohmann::json& manifest_facts, LogitPart part) {
  if (!manifest_facts.is_object()) return false;
  return manifest_facts.contains(part == LogitPart::labelled ? "rows" : kUnlabelled);
}

LogitFacts part_facts(const nlohmann::json& manifest_facts, LogitPart part,
                      const std::string& where) {
  const bool labelled = part == LogitPart::labelled;
  if (!has_part(manifest_facts, part)) {
    if (labelled && has_part(manifest_facts, LogitPart::unlabelled))
      throw core::DataError(where +
                            ": holds answers for unlabelled samples alone; run teach with --data");
    if (!labelled)
      throw core::DataError(
          where + ": holds no answers for unlabelled samples; run teach with --unlabelled");
  }
  LogitFacts facts = LogitFacts::from_json(
      labelled || !has_part(manifest_facts, part) ? manifest_facts : manifest_facts[kUnlabelled],
      where);
  if (part_of(facts) != part)
    throw core::DataError(where + ": rows of kind \"" + word_of(kFormWords, facts.layout.form) +
                          "\" where there are none of this kind; it was not written by teach, or "
                          "was changed");
  return facts;
}

void add_part(nlohmann::json& manifest_facts, const LogitFacts& facts) {
  if (part_of(facts) == LogitPart::labelled)
    manifest_facts.update(facts.to_json());
  else
    manifest_facts[kUnlabelled] = facts.to_json();
}

void EncodedRows::append(const EncodedRows& next) {
  const std::uint64_t before = bytes.size();
  bytes.insert(bytes.end(), next.bytes.begin(), next.bytes.end());
  for (const std::uint64_t end : next.ends) ends.push_back(before + end);
}

namespace {

void require_whole(const LogitFacts& facts, std::uint64_t pass, core::Range samples,
                   const EncodedRows& rows, const std::string& where) {
  const LogitLayout& layout = facts.layout;
  if (pass >= facts.passes || samples.begin > samples.end || samples.end > facts.samples)
    throw core::InternalError(where + ": outside its facts");
  const bool whole =
      layout.ragged()
          ? rows.ends.size() == samples.size() &&
                std::is_sorted(rows.ends.begin(), rows.ends.end()) &&
                (rows.ends.empty() ? 0 : rows.ends.back()) == rows.bytes.size()
          : rows.ends.empty() && rows.bytes.size() == samples.size() * layout.row_bytes();
  if (!whole)
    throw core::InternalError(where + ": " + std::to_string(rows.bytes.size()) + " bytes of rows");
  if (rows.bytes.size() > kMemberLimit)
    throw core::InternalError(where + ": above 256 MB; use fewer samples per shard");
}

/// The layout, as attributes.
void write_layout(Hdf5Writer& file, const LogitLayout& layout) {
  const auto number = [&file](std::string_view name, std::uint64_t value) {
    file.attribute("", name, value);
  };
  number("classes", layout.classes);
  if (layout.form == RowForm::sampled) {
    number("draws", layout.sampling.draws);
    file.attribute("", "draw_exponent", layout.sampling.exponent);
    file.attribute("", "draw_temperature", layout.sampling.temperature);
  } else {
    number(layout.form == RowForm::top_k ? "top_k" : "top_h", layout.top_k);
  }
  file.attribute("", "ids", word_of(kIdWords, layout.ids));
  number("id_bits", static_cast<std::uint64_t>(layout.id_bits()));
  if (layout.form == RowForm::top_k)
    file.attribute("", "precision", word_of(kPrecisionWords, layout.precision));
  if (layout.form != RowForm::top_h)
    file.attribute("", "temperatures", std::span<const double>(layout.temperatures));
}

}  // namespace

std::vector<std::byte> logit_shard_image(const LogitFacts& facts, std::uint64_t pass,
                                         core::Range samples, const EncodedRows& rows) {
  const LogitLayout& layout = facts.layout;
  require_whole(facts, pass, samples, rows,
                "logit shard of samples " + std::to_string(samples.begin) + ".." +
                    std::to_string(samples.end));
  Hdf5Writer file(kShardKind, kShardVersion);
  const auto number = [&file](std::string_view name, std::uint64_t value) {
    file.attribute("", name, value);
  };
  const auto text = [&file](std::string_view name, std::string_view value) {
    file.attribute("", name, value);
  };
  text("rows", word_of(kFormWords, layout.form));
  number("pass", pass);
  number("first_sample", samples.begin);
  write_layout(file, layout);
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
  if (layout.ragged()) {
    std::vector<std::uint64_t> begin = {0};
    begin.insert(begin.end(), rows.ends.begin(), rows.ends.end());
    file.dataset("row_begin", DType::u64, std::array{std::uint64_t{begin.size()}},
                 std::as_bytes(std::span(begin)));
    file.dataset("rows", DType::u8, std::array{std::uint64_t{rows.bytes.size()}}, rows.bytes);
  } else {
    const std::array<std::uint64_t, 2> shape = {samples.size(), layout.row_bytes()};
    file.dataset("rows", DType::u8, shape, rows.bytes);
  }
  return file.finish();
}

std::string part_folder(LogitPart part) {
  return part == LogitPart::labelled ? "" : std::string(kUnlabelled) + "/";
}

std::string logit_shard_name(std::uint64_t pass, std::uint64_t shard, LogitPart part) {
  return part_folder(part) + number_text("pass-%02llu", pass) +
         number_text("/shard-%06llu.h5", shard);
}

std::uint64_t logit_shard_count(const LogitFacts& facts) {
  return facts.samples / facts.shard_samples + (facts.samples % facts.shard_samples != 0 ? 1 : 0);
}

core::Range logit_shard_range(const LogitFacts& facts, std::uint64_t shard) {
  const std::uint64_t begin = std::min(facts.samples, shard * facts.shard_samples);
  return {begin, begin + std::min(facts.shard_samples, facts.samples - begin)};
}

nlohmann::json logit_member_facts(const std::vector<std::byte>& image, const std::string& where) {
  const Hdf5Reader file(image, where, kShardKind, kShardVersion);
  nlohmann::json facts = {{"rows_offset", file.offset("rows")}};
  if (file.has("row_begin"))
    facts["row_begin"] = {{"offset", file.offset("row_begin")},
                          {"crc32c", core::crc32c(file.bytes("row_begin"))},
                          {"end", file.shape("rows").at(0)}};
  return facts;
}

}  // namespace retort::io
