// smooth: which classes of a trained classifier are alike, as labels for another one: the cosines
// of the last layer's columns become the sparse rows of a label matrix
// (methods/similarity-labels.md; docs/label_matrix_format.md).
#include <algorithm>
#include <atomic>
#include <chrono>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/stop.h"
#include "core/warnings.h"
#include "io/agreement.h"
#include "io/checkpoint.h"
#include "io/label_matrix.h"
#include "io/packed_shard.h"
#include "nn/similarity/label_rows.h"
#include "nn/similarity/tile_pair.h"
#include "stages/label_writer.h"
#include "stages/pair_run.h"
#include "stages/said.h"
#include "stages/section_output.h"
#include "stages/smooth_options.h"
#include "stages/stage.h"
#include "stages/tile_state.h"

namespace retort::stages {

namespace {

using core::DataError;
using core::UsageError;

constexpr std::uint64_t kClassesAtOnce = 1024;

class Smooth : public Stage {
 public:
  void declare(core::OptionTable& table) override { options_.declare(table); }

  void declare_dependent(core::OptionTable& table) override {
    options_.top_m_given = is_said(table, "top-m");
  }

  void validate() const override { options_.validate(); }

  StageOutcome run(StageContext& context) override;

 private:
  void check(comm::Communicator& communicator, const ClassWeights& weights) const;
  /// `faulty` gets the classes with numbers that are not finite.
  nn::ClassTile tile_of(const ClassWeights& weights, const core::Range& classes,
                        std::vector<std::uint64_t>& faulty) const;
  std::vector<nn::ClassTile> own_tiles(const comm::Communicator& communicator, Workers& workers,
                                       const ClassWeights& weights, const TileSplit& split) const;
  StageOutcome compute(StageContext& context, PairRun& run, io::RunFolder& folder,
                       const TileState& state) const;
  void report(const io::LabelMatrixFacts& facts, const LabelSummary& summary) const;

  SmoothOptions options_;
};

/// Classes that no label can come from: how many, and the first of them.
class Unusable {
 public:
  void add(std::uint64_t id) {
    if (++count_ <= kNamed) first_.push_back(id);
  }
  /// Collective: ranks hold classes in their order.
  void gather(comm::Communicator& communicator) {
    count_ = communicator.all_reduce_sum(count_);
    std::vector<std::uint64_t> first;
    for (const auto& text : communicator.all_gather(nlohmann::json(first_).dump()))
      for (const auto& id : nlohmann::json::parse(text)) first.push_back(id.get<std::uint64_t>());
    first.resize(std::min(first.size(), kNamed));
    first_ = std::move(first);
  }
  std::uint64_t count() const { return count_; }
  /// "a (class 3), b (class 17) and others".
  std::string names(const ClassWeights& weights) const {
    std::vector<std::string> each;
    for (const auto id : first_)
      each.push_back(fmt::format("{} (class {})", weights.class_names[id], id));
    return fmt::format("{}{}", fmt::join(each, ", "), count_ > kNamed ? " and others" : "");
  }

 private:
  static constexpr std::size_t kNamed = 5;
  std::uint64_t count_ = 0;
  std::vector<std::uint64_t> first_;
};

/// DataError for columns that no label can come from, by the method's own word or the options'.
void Smooth::check(comm::Communicator& communicator, const ClassWeights& weights) const {
  const auto where = options_.weights.model.string();
  const bool raw = options_.similarity.negatives == nn::Negatives::raw;
  if (raw && weights.classes() > nn::kLargestTile)
    throw UsageError(
        fmt::format("--negatives raw: is for at most {} classes, there are {}; use "
                    "clamp, shift or softmax",
                    nn::kLargestTile, weights.classes()));
  const core::Range mine =
      core::partition(weights.classes(), static_cast<std::uint64_t>(communicator.size()),
                      static_cast<std::uint64_t>(communicator.rank()));
  Unusable faulty, without_direction;
  io::agree(communicator, [&] {
    for (core::Range some{mine.begin, mine.begin}; some.begin < mine.end; some.begin = some.end) {
      some.end = std::min(mine.end, some.begin + kClassesAtOnce);
      std::vector<std::uint64_t> not_finite;
      const nn::ClassTile tile = tile_of(weights, some, not_finite);
      for (const auto id : not_finite) faulty.add(id);
      for (std::uint64_t k = 0; k < tile.size(); ++k)
        if (tile.degenerate[k] != 0 &&
            !std::binary_search(not_finite.begin(), not_finite.end(), some.begin + k))
          without_direction.add(some.begin + k);
    }
  });
  faulty.gather(communicator);
  without_direction.gather(communicator);
  if (faulty.count() > 0 && options_.non_finite == NonFinite::error)
    throw DataError(
        fmt::format("{}: the columns of {} of {} classes hold NaN or infinite numbers, {}: the "
                    "model diverged or "
                    "was saved wrongly; use another one, or give --non-finite degenerate",
                    where, faulty.count(), weights.classes(), faulty.names(weights)));
  if (faulty.count() > 0)
    core::log_warning(
        "{} classes have columns with NaN or infinite numbers, {}: their rows are one-hot",
        faulty.count(), faulty.names(weights));
  if (without_direction.count() > 0)
    core::log_warning(
        "{} classes have columns without a direction, zeros or nearly so, {}: their rows are "
        "one-hot, "
        "and no other class is like them",
        without_direction.count(), without_direction.names(weights));
  if (!raw) return;
  std::vector<std::uint64_t> known;
  const nn::ClassTile all = tile_of(weights, {0, weights.classes()}, known);
  std::uint64_t negative = 0, unusable = 0, first = weights.classes();
  for (std::uint64_t k = mine.begin; k < mine.end; ++k) {
    const nn::RawRow row = nn::raw_row(all, k, options_.similarity.self);
    negative += row.has_negative ? 1 : 0;
    unusable += row.usable() ? 0 : 1;
    if (row.has_negative || !row.usable()) first = std::min(first, k);
  }
  negative = communicator.all_reduce_sum(negative);
  unusable = communicator.all_reduce_sum(unusable);
  first = communicator.all_reduce_min(first);
  if (first < weights.classes())
    throw DataError(
        fmt::format("{}: raw cosines are no labels: {} of {} rows have a negative one, {} have a "
                    "sum that is not above 0; the "
                    "first is that of {}: use --negatives clamp, shift or softmax",
                    where, negative, weights.classes(), unusable, weights.class_names[first]));
}

nn::ClassTile Smooth::tile_of(const ClassWeights& weights, const core::Range& classes,
                              std::vector<std::uint64_t>& faulty) const {
  return nn::make_class_tile(classes, weights.features, weights.columns(classes),
                             weights.biases(classes), options_.norm_floor, faulty);
}

std::vector<nn::ClassTile> Smooth::own_tiles(const comm::Communicator& communicator,
                                             Workers& workers, const ClassWeights& weights,
                                             const TileSplit& split) const {
  const core::Range mine = split.tiles_of(communicator.rank(), communicator.size());
  std::vector<nn::ClassTile> own(mine.size());
  std::atomic<std::uint64_t> next{0};
  workers.run([&](int) {
    std::vector<std::uint64_t> known;  // check() has spoken of them
    for (std::uint64_t t; (t = next++) < own.size();)
      own[t] = tile_of(weights, split.tile(mine.begin + t), known);
  });
  return own;
}

StageOutcome Smooth::compute(StageContext& context, PairRun& run, io::RunFolder& folder,
                             const TileState& state) const {
  using Clock = std::chrono::steady_clock;
  comm::Communicator& communicator = context.communicator;
  core::Progress progress("smooth", run.done().total(), "tile pairs", run.done().count());
  core::stop_on_interrupt();
  auto last = Clock::now();
  const auto commit = [&] {
    run.settle();
    state.commit(folder, run);
    last = Clock::now();
  };
  for (std::uint64_t round = 1; run.advance(); ++round) {
    progress.update(run.done().count());
    communicator.at("tile pair", run.done().count());
    const bool due =
        communicator.root() && options_.checkpoint_minutes > 0 &&
        Clock::now() - last >= std::chrono::duration<double>(60 * options_.checkpoint_minutes);
    // How many ranks say yes to each, in one message of two counts.
    const std::uint64_t said = communicator.all_reduce_sum((core::stop_requested() ? 1U : 0U) +
                                                           (std::uint64_t{due ? 1U : 0U} << 32));
    const bool stop = (said & 0xFFFFFFFFU) != 0;
    const bool by_count = options_.checkpoint_every > 0 && round % options_.checkpoint_every == 0;
    if (stop || by_count || said >> 32 != 0) commit();
    if (stop && run.done().count() < run.done().total()) {
      core::log_info(
          "stopped on request after {} of {} tile pairs; the same command goes on from "
          "there",
          run.done().count(), run.done().total());
      return StageOutcome::stopped;
    }
  }
  progress.finish();
  commit();
  return StageOutcome::done;
}

void Smooth::report(const io::LabelMatrixFacts& facts, const LabelSummary& summary) const {
  const auto rows = static_cast<double>(summary.rows);
  if (summary.one_hot == summary.rows && summary.discarded == 0)
    core::log_warning(
        "no class is similar to another one (a fully converged classifier, or a floor that is too "
        "high): all labels are one-hot, training on them changes nothing");
  else if (facts.self == "keep" && summary.self / rows < 0.5)
    core::log_warning(
        "a class keeps {:.3f} of its own label on average, many classes that are hardly alike "
        "share "
        "the rest: train with a small --label-mix, or use --negatives softmax or a --floor",
        summary.self / rows);
}

StageOutcome Smooth::run(StageContext& context) {
  comm::Communicator& communicator = context.communicator;
  ClassWeights weights = open_class_weights(options_.weights);
  io::require_same(communicator, weights.source,
                   options_.weights.model.string() +
                       ": changed while the ranks read it; start again when nobody writes to it");
  options_.settle(weights.classes());
  io::on_root(communicator, [&] { weights.hash(); });
  weights.digest = communicator.broadcast(weights.digest);
  const io::LabelMatrixFacts facts = options_.facts(weights);
  const std::string recipe = recipe_hash(
      context, fmt::format("weights {}\nclasses {}\n", weights.digest, weights.class_digest));
  if (is_complete(context, options_.out, recipe, io::kLabelMatrixKind)) {
    core::log_info("{}: already complete", options_.out.string());
    return StageOutcome::done;
  }
  check(communicator, weights);
  io::RunFolder folder = io::RunFolder::open(
      communicator, options_.out, recipe,
      context.take_over ? io::RunFolder::TakeOver::yes : io::RunFolder::TakeOver::no);
  TileState state(communicator, weights.classes(),
                  nn::others_kept(options_.similarity, facts.top_m),
                  options_.tile > 0 ? options_.tile : default_tile_edge(weights.classes()));
  state.load(folder);
  const TileSplit& split = state.split();
  core::log_info(
      "smooth: {} classes of {} features in {} tiles, {} entries a row; {} rank(s) x {} "
      "worker(s)",
      facts.classes, facts.features, split.tiles(), facts.top_m, communicator.size(),
      context.threads);

  const core::Stopwatch watch;
  nn::SimilarityOptions similarity = options_.similarity;
  if (similarity.negatives == nn::Negatives::raw)  // none is negative: the same weights
    similarity.negatives = nn::Negatives::clamp;
  Workers workers(context.threads);
  const std::uint64_t before = state.done().count();
  std::vector<nn::ClassTile> own;
  io::agree(communicator, [&] { own = own_tiles(communicator, workers, weights, split); });
  PairRun pairs({communicator, workers, split, options_.schedule, similarity,
                 nn::others_kept(similarity, facts.top_m), options_.cosines(facts.classes)},
                std::move(own), state.take_rows(), state.done());
  if (compute(context, pairs, folder, state) == StageOutcome::stopped) return StageOutcome::stopped;
  const double seconds = watch.seconds();

  io::MemberLedger ledger(options_.out, recipe);
  write_label_files({communicator, ledger, facts, split, similarity}, pairs.own(), pairs.rows());
  io::on_root(communicator, [&] {
    ledger.commit(std::string(io::kPackedClassesName),
                  io::packed_classes_image(weights.class_names), nlohmann::json::object());
  });
  nlohmann::json results = {{"classes", facts.classes},
                            {"features", facts.features},
                            {"tile_pairs", pairs.done().total()},
                            {"seconds", watch.seconds()}};
  results["tile_pairs_computed"] = pairs.done().total() - before;
  results["pair_seconds"] = seconds;
  results["bytes_received"] = communicator.all_reduce_sum(pairs.counts().bytes_received);
  results["messages_received"] = communicator.all_reduce_sum(pairs.counts().messages_received);
  io::Manifest manifest;
  io::on_root(communicator, [&] {
    manifest = io::label_matrix_manifest(facts, ledger.records());
    LabelSummary summary;
    for (const io::Member& member : manifest.members)
      if (member.name != io::kPackedClassesName) summary += LabelSummary::from_json(member.facts);
    report(facts, summary);
    const auto rows = static_cast<double>(summary.rows);
    results["entries"] = summary.entries;
    results["degenerate"] = summary.degenerate;
    results["alone"] = summary.alone;
    results["one_hot"] = summary.one_hot;
    results["mean_self"] = summary.self / rows;
    results["mean_discarded"] = summary.discarded / rows;
    results["similarities"] = {{"nearest", summary.nearest}, {"kept", summary.kept}};
    manifest.companions = write_companions(context, options_.out, recipe, manifest.content_digest,
                                           with_circumstances(context, results));
  });
  ledger.seal(communicator, manifest);
  print_results(context, results);
  return StageOutcome::done;
}

}  // namespace

std::unique_ptr<Stage> make_smooth() { return std::make_unique<Smooth>(); }

}  // namespace retort::stages
