#include "stages/smooth_options.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "nn/similarity/fast_pair.h"
#include "nn/similarity/tile_pair.h"

namespace retort::stages {

using core::UsageError;

namespace {
constexpr std::uint64_t kMostExact = std::uint64_t{1} << 15;  // classes of automatic
}

void SmoothOptions::declare(core::OptionTable& table) {
  using core::OptionEffect;
  table.group("Classes and their columns");
  weights.declare(table);
  auto& folder = table.add("out", &out, "Folder for the label matrix");
  folder.effect = OptionEffect::output;
  folder.required = true;
  table.add("norm-floor", &norm_floor,
            "Columns of this norm or less have no direction: their rows are one-hot, and no other "
            "row names them");
  table.add_choice("non-finite", &non_finite,
                   {{"error", NonFinite::error}, {"degenerate", NonFinite::degenerate}},
                   "Columns with NaN or infinite numbers, in a safetensors file: refuse, or treat "
                   "like those without direction");
  table.group("Labels");
  table.add("top-m", &top_m,
            "Entries of a row at most, the class itself and the most similar; 0: all classes, for "
            "few classes; as many as there are, if there are fewer and it is not given");
  table.add_choice(
      "negatives", &similarity.negatives,
      {{"clamp", nn::Negatives::clamp},
       {"shift", nn::Negatives::shift},
       {"softmax", nn::Negatives::softmax},
       {"raw", nn::Negatives::raw}},
      "Weight of a class by its cosine c: c above the floor, else 0; (1 + c) / 2; "
      "exp((c - 1) / temperature); c as it is, which is refused where one is negative");
  table.only_with("negatives", "clamp", [&] {
    table.add("floor", &similarity.floor, "Cosines up to this one weigh nothing");
  });
  table.only_with("negatives", "softmax", [&] {
    table.add("temperature", &similarity.temperature,
              "Temperature of softmax, at least 0.02; 0: 1 / (ln(classes) + 2)");
  });
  table.add_choice("self", &similarity.self,
                   {{"keep", nn::SelfWeight::keep}, {"exclude", nn::SelfWeight::exclude}},
                   "Keep the class itself in its row, with weight 1, or share the row among others "
                   "alone, which needs a --label-mix below 1 in training");
  table.add_choice("precision", &precision,
                   {{"automatic", LabelPrecision::automatic},
                    {"exact", LabelPrecision::exact},
                    {"fp32", LabelPrecision::fp32}},
                   "Cosines in fp64 in a fixed order, or in fp32, several times faster: rows are "
                   "exact, their normalisers within a bound that is stored; automatic: exact up to "
                   "32,768 classes");
  table.group("Computation");
  table
      .add_choice("schedule", &schedule,
                  {{"ring", PairSchedule::ring}, {"panels", PairSchedule::panels}},
                  "How ranks meet: half way round a ring, or each pair of panels on one rank, "
                  "which moves less between many ranks and takes more memory; the result is the "
                  "same")
      .effect = OptionEffect::run;
  table
      .add("tile", &tile,
           "Classes of a tile, the unit of work and of checkpoints; 0: by the class count, at "
           "most "
           "2,016; the result is the same")
      .effect = OptionEffect::run;
  table
      .add("checkpoint-every", &checkpoint_every,
           "Rounds of tile pairs between checkpoints; 0: by time alone")
      .effect = OptionEffect::run;
  table
      .add("checkpoint-minutes", &checkpoint_minutes,
           "Minutes between checkpoints; 0: by rounds alone")
      .effect = OptionEffect::run;
}

void SmoothOptions::validate() const {
  nn::SimilarityOptions checked = similarity;
  if (checked.temperature == 0) checked.temperature = 1;
  checked.validate();
  if (!(norm_floor >= 0 && norm_floor < 1e30))
    throw UsageError(fmt::format("--norm-floor {}: must be 0 or above", norm_floor));
  if (tile > nn::kLargestTile)
    throw UsageError(fmt::format("--tile {}: at most {} are possible", tile, nn::kLargestTile));
  if (!(checkpoint_minutes >= 0)) throw UsageError("--checkpoint-minutes: must be 0 or above");
  if (similarity.negatives == nn::Negatives::raw && top_m_given && top_m != 0)
    throw UsageError("--negatives raw: looks at all classes of a row: leave out --top-m");
}

void SmoothOptions::settle(std::uint64_t classes) {
  if (similarity.negatives == nn::Negatives::raw) top_m = 0;
  if (top_m_given && top_m > classes)
    throw UsageError(fmt::format("--top-m {}: {} knows only {} classes", top_m,
                                 weights.model.string(), classes));
  top_m = top_m == 0 ? classes : std::min(top_m, classes);
  // What does not count is the same in every matrix.
  if (similarity.negatives != nn::Negatives::softmax) similarity.temperature = 1;
  if (similarity.negatives != nn::Negatives::clamp) similarity.floor = 0;
  if (similarity.temperature == 0)
    similarity.temperature = 1 / (std::log(static_cast<double>(classes)) + 2);
}

CosinePrecision SmoothOptions::cosines(std::uint64_t classes) const {
  const bool fast = precision == LabelPrecision::fp32 ||
                    (precision == LabelPrecision::automatic && classes > kMostExact);
  return fast ? CosinePrecision::fp32 : CosinePrecision::exact;
}

io::LabelMatrixFacts SmoothOptions::facts(const ClassWeights& columns) const {
  io::LabelMatrixFacts all;
  all.classes = columns.classes();
  all.features = columns.features + (weights.bias ? 1 : 0);
  all.top_m = static_cast<std::uint32_t>(top_m);
  all.class_digest = columns.class_digest;
  all.weight_digest = columns.digest;
  all.negatives = nn::word_of(similarity.negatives);
  all.self = similarity.self == nn::SelfWeight::keep ? "keep" : "exclude";
  all.floor = similarity.floor;
  all.temperature = similarity.temperature;
  all.norm_floor = norm_floor;
  all.non_finite = non_finite == NonFinite::error ? "error" : "degenerate";
  all.bias = weights.bias;
  const bool fast = cosines(columns.classes()) == CosinePrecision::fp32;
  all.precision = fast ? "fp32" : "exact";
  all.cosine_bound = fast ? nn::fast_cosine_bound(all.features) : 0;
  return all;
}

}  // namespace retort::stages
