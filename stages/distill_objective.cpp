#include "stages/distill_objective.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "nn/tail_bounds.h"

namespace retort::stages {

namespace {

using core::UsageError;

/// Labelled rows of a micro-shard: what hard and soft loss are computed on.
struct LabelledRows {
  LabelledRows(const io::MicroBatch& micro, const io::LogitFacts& facts, const HardLabels& labels)
      : pass(micro.epoch % facts.passes),
        samples(std::span(micro.samples).first(micro.labelled)),
        hard(labels, micro) {}
  std::uint64_t pass;
  std::span<const std::uint64_t> samples;
  HardLabels::Rows hard;
};

/// What a teacher answered for some rows: one of the two forms, with its memory.
struct Answers {
  std::vector<std::uint64_t> begin;
  std::vector<std::uint32_t> ids;
  std::vector<float> values, tail;              // of the best classes
  std::vector<float> weights, log_probability;  // of weighted ones
  nn::SparseTargets<float> best;
  nn::WeightedTargets<float> weighted;
};

/// A teacher's answers for labelled rows, from rows of one form.
class SoftTarget {
 public:
  virtual ~SoftTarget() = default;
  /// Reads them into `answers` and makes `targets` refer to them.
  virtual void read(const LabelledRows& rows, Answers& answers,
                    nn::LossTargets<float>& targets) const = 0;
  /// Why these targets have no way to a GPU; empty: append() is it.
  virtual std::string gpu_obstacle() const = 0;
  /// Appends the same rows for a GPU; settings but the target's own are the caller's.
  virtual void append(const LabelledRows& rows, RowTargets& targets) const = 0;
};

nn::TailMode mode_of(SoftTail tail) {
  switch (tail) {
    case SoftTail::residual:
      return nn::TailMode::residual;
    case SoftTail::uniform:
      return nn::TailMode::uniform;
    case SoftTail::renormalise:
      return nn::TailMode::renormalise;
    case SoftTail::renormalise_stored:
      return nn::TailMode::renormalise_stored;
    case SoftTail::sampled:
      break;
  }
  throw core::InternalError("distill: draws have no tail mode of stored classes");
}

/// The best classes, and a mode for the rest.
class BestClasses final : public SoftTarget {
 public:
  BestClasses(const DistillLoss& loss, const io::LogitStore& store)
      : store_(store), options_{mode_of(loss.tail), loss.scale, loss.temperature} {
    const auto& stored = store.facts().layout.temperatures;
    if (!needs_tail()) return;
    interpolated_ = loss.unlisted == Unlisted::interpolate &&
                    std::find(stored.begin(), stored.end(), loss.temperature) == stored.end();
    if (!interpolated_) index_ = nn::temperature_index(stored, loss.temperature);
  }

  void read(const LabelledRows& rows, Answers& answers,
            nn::LossTargets<float>& targets) const override {
    const std::size_t n = rows.samples.size(), k = store_.facts().layout.top_k;
    answers.ids.resize(n * k);
    answers.values.resize(n * k);
    answers.tail.resize(n);
    fill(rows, answers.ids, answers.values, answers.tail);
    answers.best = {store_.facts().layout.top_k, answers.ids, answers.values, answers.tail};
    targets.best = &answers.best;
    targets.options = options_;
  }

  std::string gpu_obstacle() const override { return {}; }
  void append(const LabelledRows& rows, RowTargets& targets) const override {
    targets.settings.target = row_target(options_.tail);
    const std::size_t n = rows.samples.size(), k = targets.k = store_.facts().layout.top_k;
    targets.ids.resize(targets.ids.size() + n * k);
    targets.teacher.resize(targets.teacher.size() + n * k);
    targets.tail_lse.resize(targets.tail_lse.size() + n);
    fill(rows, std::span(targets.ids).last(n * k), std::span(targets.teacher).last(n * k),
         std::span(targets.tail_lse).last(n));
  }

 private:
  static nn::RowTarget row_target(nn::TailMode mode) {
    switch (mode) {
      case nn::TailMode::residual:
        return nn::RowTarget::residual;
      case nn::TailMode::uniform:
        return nn::RowTarget::uniform;
      case nn::TailMode::renormalise:
        return nn::RowTarget::renormalise;
      case nn::TailMode::renormalise_stored:
        return nn::RowTarget::renormalise_stored;
    }
    throw core::InternalError("unknown tail mode");
  }
  /// ids, values: [rows, k]; tail: [rows], 0 where the mode has none.
  void fill(const LabelledRows& rows, std::span<std::uint32_t> ids, std::span<float> values,
            std::span<float> tail) const {
    const auto& layout = store_.facts().layout;
    const std::size_t k = layout.top_k, temperatures = layout.temperatures.size();
    std::vector<float> tails(tail.size() * temperatures);
    store_.read(rows.pass, rows.samples, ids, values, tails);
    for (std::size_t row = 0; row < tail.size(); ++row)
      tail[row] =
          tail_of(values.subspan(row * k, k), {tails.data() + row * temperatures, temperatures});
  }
  bool needs_tail() const {
    return options_.tail == nn::TailMode::residual || options_.tail == nn::TailMode::uniform;
  }
  float tail_of(std::span<const float> values, std::span<const float> tails) const {
    if (!needs_tail()) return 0;
    if (!interpolated_) return tails[index_];
    const auto& layout = store_.facts().layout;
    const std::vector<double> known(tails.begin(), tails.end());
    const nn::TailFacts facts{.tail_count = layout.classes - layout.top_k,
                              .smallest_stored_logit = static_cast<double>(values.back()),
                              .temperatures = layout.temperatures,
                              .tail_lse = known,
                              .tail_mean = {}};
    return static_cast<float>(nn::tail_bounds(facts, options_.temperature).midpoint());
  }

  const io::LogitStore& store_;
  nn::SoftOptions options_;
  bool interpolated_ = false;
  std::size_t index_ = 0;
};

/// Draws with importance weights, tail mode (d).
class DrawnClasses final : public SoftTarget {
 public:
  DrawnClasses(const DistillLoss& loss, const io::LogitStore& store)
      : store_(store),
        options_{.scale = loss.scale, .temperature = loss.temperature},
        normalisation_(loss.sampled_weights),
        proposal_{store.facts().layout.sampling.exponent,
                  store.facts().layout.sampling.temperature} {
    const auto& stored = store.facts().layout.temperatures;
    const auto found = std::find_if(stored.begin(), stored.end(), [&](double t) {
      return std::abs(t - loss.temperature) <= 1e-9 * t;  // as nn::temperature_index
    });
    if (found != stored.end()) {
      index_ = static_cast<std::size_t>(found - stored.begin());
      source_ = LogSumExp::stored;
    } else if (nn::is_target(proposal_, loss.temperature)) {
      source_ = LogSumExp::not_needed;
    } else if (normalisation_ == nn::Normalisation::self) {
      source_ = LogSumExp::cancels;
    } else {
      throw UsageError(fmt::format(
          "--temperature {}: was not captured: the draws come with the log-sum-exp at {}; use one "
          "of these, --sampled-weights self-normalised (biased), or capture again with it in "
          "--temperatures",
          loss.temperature, fmt::join(stored, ", ")));
    }
  }

  void read(const LabelledRows& rows, Answers& answers,
            nn::LossTargets<float>& targets) const override {
    io::SampledRows draws = store_.read_sampled(rows.pass, rows.samples);
    const std::size_t temperatures = store_.facts().layout.temperatures.size();
    answers.weights.resize(draws.ids.size());
    answers.log_probability.resize(draws.ids.size());
    for (std::size_t row = 0; row < rows.samples.size(); ++row) {
      const auto part = [&](auto& values) {
        return std::span(values).subspan(draws.begin[row], draws.begin[row + 1] - draws.begin[row]);
      };
      double full_lse = 0;
      if (source_ == LogSumExp::stored)
        full_lse = static_cast<double>(draws.full_lse[row * temperatures + index_]);
      else if (source_ == LogSumExp::cancels)
        full_lse = largest(part(draws.logits), part(draws.log_proposal));
      nn::importance_weights<float>(part(draws.counts), part(draws.logits),
                                    part(draws.log_proposal), proposal_, options_.temperature,
                                    full_lse, normalisation_, part(answers.weights),
                                    part(answers.log_probability));
    }
    // Without the log-sum-exp the teacher's probabilities, and with them kl, are not known.
    if (source_ == LogSumExp::cancels) answers.log_probability.clear();
    answers.begin = std::move(draws.begin);
    answers.ids = std::move(draws.ids);
    answers.weighted = {answers.begin, answers.ids, answers.weights, answers.log_probability};
    targets.weighted = &answers.weighted;
    targets.options = options_;
  }

  std::string gpu_obstacle() const override { return "draws are computed on the CPU alone"; }
  void append(const LabelledRows&, RowTargets&) const override {
    throw core::InternalError(gpu_obstacle());
  }

 private:
  enum class LogSumExp { stored, not_needed, cancels };

  /// A reference above which no weight comes, where its value cancels.
  double largest(std::span<const float> logits, std::span<const float> log_proposal) const {
    double most = -std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < logits.size(); ++i)
      most = std::max(most, static_cast<double>(logits[i]) / options_.temperature -
                                static_cast<double>(log_proposal[i]));
    return most;
  }

  const io::LogitStore& store_;
  nn::SoftOptions options_;
  nn::Normalisation normalisation_;
  nn::Proposal proposal_;
  LogSumExp source_ = LogSumExp::stored;
  std::size_t index_ = 0;
};

std::unique_ptr<SoftTarget> make_soft_target(const DistillLoss& loss, const io::LogitStore& store) {
  const bool drawn = store.facts().layout.form == io::RowForm::sampled;
  if (loss.tail == SoftTail::sampled) {
    if (!drawn)
      throw UsageError(
          "--tail sampled: --logits holds the best classes, not draws: capture with teach "
          "--sample");
    if (loss.unlisted == Unlisted::interpolate)
      throw UsageError(
          "--unlisted-temperature interpolate: bounds the tail beside the best classes; draws have "
          "none");
    return std::make_unique<DrawnClasses>(loss, store);
  }
  if (drawn)
    throw UsageError(
        "--logits holds draws, not the best classes: use --tail sampled, or capture with teach "
        "--top-k");
  return std::make_unique<BestClasses>(loss, store);
}

class DistillObjective final : public Objective {
 public:
  DistillObjective(const DistillLoss& loss, const HardLabels& labels, const io::LogitStore& store,
                   const io::LogitStore* unlabelled)
      : loss_(loss),
        labels_(labels),
        store_(store),
        unlabelled_(unlabelled),
        soft_(make_soft_target(loss, store)) {}

  std::unique_ptr<BatchTargets> targets(const io::MicroBatch& batch,
                                        const BatchRows& of_batch) const override {
    auto held = std::make_unique<Held>();
    if (batch.labelled > 0) {
      const double share = 1.0 / static_cast<double>(of_batch.labelled);
      held->rows.emplace(batch, store_.facts(), labels_);
      held->labelled = {.rows = batch.labelled,
                        .hard = &held->rows->hard.targets(),
                        .hard_weight = loss_.alpha * share,
                        .soft_weight = (1 - loss_.alpha) * share};
      soft_->read(*held->rows, held->answers, held->labelled);
    }
    if (batch.samples.size() > batch.labelled)
      add_unlabelled(batch, loss_.beta / static_cast<double>(of_batch.unlabelled), *held);
    return held;
  }

  std::string gpu_obstacle() const override {
    if (unlabelled_ != nullptr) return "unlabelled samples are computed on the CPU alone";
    if (const auto obstacle = labels_.gpu_obstacle(); !obstacle.empty()) return obstacle;
    return soft_->gpu_obstacle();
  }
  void append_targets(const io::MicroBatch& batch, const BatchRows& of_batch,
                      RowTargets& targets) const override {
    const double share = 1.0 / static_cast<double>(of_batch.labelled);
    targets.settings = {.temperature = loss_.temperature,
                        .soft_scale = nn::scale_factor(loss_.scale, loss_.temperature),
                        .hard_weight = loss_.alpha * share,
                        .soft_weight = (1 - loss_.alpha) * share,
                        .smoothing = labels_.smoothing()};
    const LabelledRows rows(batch, store_.facts(), labels_);
    const nn::HardTargets<float>& batch_labels = rows.hard.targets();
    targets.append_labels(batch_labels.label_begin, batch_labels.labels);
    soft_->append(rows, targets);
  }

  double value(const nn::LossSums& sums, const BatchRows& rows) const override {
    const auto mean = [](double sum, std::uint64_t n) {
      return n == 0 ? 0.0 : sum / static_cast<double>(n);
    };
    return mean(loss_.alpha * sums.hard + (1 - loss_.alpha) * sums.soft, rows.labelled) +
           loss_.beta * mean(sums.unlabelled, rows.unlabelled);
  }

 private:
  struct Held final : BatchTargets {
    std::optional<LabelledRows> rows;
    Answers answers, of_unlabelled;
  };

  // Equation (3) of the page.
  void add_unlabelled(const io::MicroBatch& batch, double weight, Held& held) const {
    const io::LogitFacts& facts = unlabelled_->facts();
    const std::size_t h = facts.layout.top_k;
    Answers& answers = held.of_unlabelled;
    std::vector<std::uint64_t> samples;
    answers.begin = {0};
    for (const std::uint64_t id : std::span(batch.samples).subspan(batch.labelled)) {
      samples.push_back(id & ~io::kUnlabelledTag);
      answers.begin.push_back(answers.begin.back() + h);
    }
    answers.ids.resize(samples.size() * h);
    answers.weights.resize(answers.ids.size());
    std::vector<float> probabilities(answers.ids.size());
    unlabelled_->read_labels(batch.unlabelled_epoch % facts.passes, samples, answers.ids,
                             probabilities);
    nn::unlabelled_weights<float>(facts.layout.top_k, probabilities, loss_.unlabelled_weights,
                                  answers.weights);
    answers.weighted = {answers.begin, answers.ids, answers.weights, {}};
    held.unlabelled = {.rows = samples.size(),
                       .weighted = &answers.weighted,
                       .options = nn::kUnlabelledOptions,
                       .soft_weight = weight};
  }

  const DistillLoss& loss_;
  const HardLabels& labels_;
  const io::LogitStore& store_;
  const io::LogitStore* unlabelled_;
  std::unique_ptr<SoftTarget> soft_;
};

}  // namespace

std::unique_ptr<Objective> make_distill_objective(const DistillLoss& loss, const HardLabels& labels,
                                                  const io::LogitStore& logits,
                                                  const io::LogitStore* unlabelled) {
  return std::make_unique<DistillObjective>(loss, labels, logits, unlabelled);
}

}  // namespace retort::stages
