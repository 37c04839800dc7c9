#include "pipeline/inspect_labels.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/options.h"
#include "io/fixed_sum.h"
#include "io/label_matrix.h"
#include "io/manifest.h"
#include "pipeline/inspect_data.h"
#include "stages/class_weights.h"

namespace retort::pipeline {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t kShownPairs = 20;
constexpr std::size_t kShownNeighbours = 20;

Json strongest_pairs(const LabelView& labels) {
  Json list = Json::array();
  for (const SimilarPair& pair : labels.strongest(kShownPairs))
    list.push_back({{"cosine", labels.cosine(pair.weight)},
                    {"class", labels.name(pair.a)},
                    {"other", labels.name(pair.b)}});
  return list;
}

Json whole(const LabelView& matrix, const io::Manifest& manifest) {
  Json json = {{"what", "label matrix"}};
  add_manifest(json, manifest);
  const io::LabelMatrixFacts& facts = matrix.facts();
  const nlohmann::json all = facts.to_json();
  for (const char* name :
       {"classes", "features", "top_m", "negatives", "floor", "temperature", "self", "bias",
        "norm_floor", "non_finite", "precision", "cosine_bound", "class_digest", "weight_digest"}) {
    if (std::string_view(name) == "floor" && facts.negatives != "clamp") continue;
    if (std::string_view(name) == "temperature" && facts.negatives != "softmax") continue;
    json[name] = all.at(name);
  }
  if (auto pairs = strongest_pairs(matrix); !pairs.empty()) json["most similar"] = std::move(pairs);
  return json;
}

Json one_class(LabelView& matrix, std::uint32_t id) {
  constexpr const char* kStatus[] = {"ok", "degenerate: its column has no direction",
                                     "alone: nothing to share its label with"};
  Json json = {{"what", "class of a label matrix"},
               {"class", matrix.name(id)},
               {"id", id},
               {"status", kStatus[static_cast<std::size_t>(matrix.status(id))]}};
  const auto entries = matrix.entries(id);
  json["entries"] = entries.size();
  json["discarded"] = matrix.discarded(id);
  Json list = Json::array();
  for (const LabelEntry& entry : entries) {
    if (list.size() == kShownNeighbours) break;
    list.push_back({{"share", entry.share},
                    {"cosine", matrix.cosine(entry.weight)},
                    {"id", entry.id},
                    {"class", matrix.name(entry.id)}});
  }
  json["row"] = std::move(list);
  return json;
}

/// The cosine of two classes from the columns themselves.
double cosine_of(const fs::path& model, const io::LabelMatrix& matrix, std::uint32_t a,
                 std::uint32_t b) {
  const io::LabelMatrixFacts& facts = matrix.facts();
  stages::ClassWeightOptions options;
  options.class_names = matrix.class_names();
  options.model = model;
  options.bias = facts.bias;
  stages::ClassWeights weights = stages::open_class_weights(options);
  weights.hash();
  if (weights.digest != facts.weight_digest)
    throw core::DataError(fmt::format(
        "--model {}: its columns are not those that the matrix was made of", model.string()));
  return stages::cosine(weights, a, b, facts.norm_floor);
}

Json pair_of(LabelView& matrix, std::uint32_t a, std::uint32_t b, const fs::path& model) {
  Json json = {
      {"what", "pair of a label matrix"}, {"class", matrix.name(a)}, {"other", matrix.name(b)}};
  std::optional<double> cosine;
  const auto look = [&](std::uint32_t own, std::uint32_t other, const char* name) {
    for (const LabelEntry& entry : matrix.entries(own))
      if (entry.id == other) {
        json[name] = entry.share;
        cosine = matrix.cosine(entry.weight);
        return;
      }
    json[name] = "not stored";
  };
  look(a, b, "share of other in class's row");
  look(b, a, "share of class in other's row");
  if (!model.empty()) cosine = cosine_of(model, matrix.matrix(), a, b);
  if (cosine) {
    json["cosine"] = *cosine;
  } else {
    json["cosine"] = "in neither row; give --model, which the matrix was made of";
  }
  return json;
}

}  // namespace

std::uint32_t LabelView::id_of(const std::string& text) const {
  const auto& names = matrix_.class_names();
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<std::uint32_t>(found - names.begin());
  std::uint32_t id = 0;
  const char* const end = text.data() + text.size();
  if (text.starts_with('#'))
    if (const auto parsed = std::from_chars(text.data() + 1, end, id);
        parsed.ec == std::errc() && parsed.ptr == end && id < names.size())
      return id;
  // "O" of "U+004F O".
  const auto has_word = [&](const std::string& name) {
    return (" " + name + " ").find(" " + text + " ") != std::string::npos;
  };
  const auto only = std::find_if(names.begin(), names.end(), has_word);
  if (only != names.end() && std::find_if(only + 1, names.end(), has_word) == names.end())
    return static_cast<std::uint32_t>(only - names.begin());
  const std::string near = core::nearest_word(text, names);
  throw core::UsageError(
      fmt::format("--class {}: no class is called so{}", text,
                  near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
}

const io::LabelRows& LabelView::rows_of(std::uint64_t id) {
  const std::uint64_t file = id / io::label_classes_per_file(facts());
  if (!rows_ || file_ != file) rows_ = matrix_.read(file_ = file);
  return *rows_;
}

std::vector<LabelEntry> LabelView::entries(std::uint64_t id) {
  const io::LabelRows& rows = rows_of(id);
  const std::uint64_t r = id - rows.classes.begin;
  const double normaliser = io::FixedSum::from_words(rows.normaliser[r]).value();
  std::vector<LabelEntry> all;
  for (std::uint64_t at = rows.row_begin[r]; at < rows.row_begin[r + 1]; ++at)
    all.push_back({rows.ids[at], rows.weights[at], rows.weights[at] / normaliser});
  return all;
}

io::LabelStatus LabelView::status(std::uint64_t id) {
  const io::LabelRows& rows = rows_of(id);
  return rows.status[id - rows.classes.begin];
}

double LabelView::discarded(std::uint64_t id) {
  const io::LabelRows& rows = rows_of(id);
  return rows.discarded[id - rows.classes.begin];
}

double LabelView::cosine(double weight) const {
  if (facts().negatives == "shift") return 2 * weight - 1;
  if (facts().negatives == "softmax") return 1 + facts().temperature * std::log(weight);
  return weight;
}

std::vector<SimilarPair> LabelView::strongest(std::size_t most) const {
  constexpr std::size_t kAtOnce = 4096;
  std::vector<SimilarPair> pairs;
  const auto better = [](const SimilarPair& x, const SimilarPair& y) {
    return x.weight != y.weight ? x.weight > y.weight : std::pair(x.a, x.b) < std::pair(y.a, y.b);
  };
  for (std::uint64_t file = 0; file < matrix_.files(); ++file) {
    const io::LabelRows rows = matrix_.read(file);
    for (std::uint64_t r = 0; r < rows.classes.size(); ++r) {
      const std::uint64_t own = rows.classes.begin + r;
      // A pair stands in both rows, unless one of them is full of better ones.
      for (std::uint64_t at = rows.row_begin[r]; at < rows.row_begin[r + 1]; ++at) {
        const std::uint64_t other = rows.ids[at];
        if (other != own)
          pairs.push_back({rows.weights[at], std::min(own, other), std::max(own, other)});
      }
      if (pairs.size() < kAtOnce + 2 * most) continue;
      std::partial_sort(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(2 * most),
                        pairs.end(), better);
      pairs.resize(2 * most);
    }
  }
  std::sort(pairs.begin(), pairs.end(), better);
  pairs.erase(std::unique(pairs.begin(), pairs.end(),
                          [](const auto& x, const auto& y) { return x.a == y.a && x.b == y.b; }),
              pairs.end());
  if (pairs.size() > most) pairs.resize(most);
  return pairs;
}

Json inspect_labels(const fs::path& folder, const std::vector<std::string>& classes,
                    const fs::path& model) {
  LabelView matrix(folder);
  if (classes.empty()) return whole(matrix, io::read_manifest(folder));
  const std::uint32_t first = matrix.id_of(classes.front());
  if (classes.size() == 1) return one_class(matrix, first);
  return pair_of(matrix, first, matrix.id_of(classes[1]), model);
}

}  // namespace retort::pipeline
