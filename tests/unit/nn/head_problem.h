// Batches for the tests of a head divided by classes, and the dense fp64 reference for them: logits
// and their derivatives by torch's autograd, losses by nn/loss.h among the classes that take part.
#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <ostream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include "core/random.h"
#include "nn/class_head/class_head.h"
#include "nn/class_head/listed_loss.h"

namespace retort::nn {

using core::Range;

// No multiple of tiles, ranks or lanes; several chunks a tile are in the last case of the tests.
constexpr std::uint64_t kClasses = 2011, kFeatures = 37, kRows = 23;
constexpr std::uint32_t kBest = 5;

enum class Target { gold, smoothed, label_rows, best, draws, unlabelled };

struct Case {
  std::string name;
  Target target = Target::gold;
  TailMode tail = TailMode::residual;
  double temperature = 1;
  HeadForm form{};
  Margin margin{.scale = 1};
  double rate = 1;
  bool bias = false;
  std::uint64_t classes = kClasses, rows = kRows, features = kFeatures;
};

inline void PrintTo(const Case& what, std::ostream* to) { *to << what.name; }

/// Everything of a batch, the same on all ranks.
struct Problem {
  Case what;
  std::vector<float> embeddings, weight, bias;
  std::vector<std::uint32_t> label_begin{0}, labels;
  std::vector<std::uint64_t> soft_begin{0};
  std::vector<std::uint32_t> soft_ids;
  std::vector<float> soft_excess, background;
  std::vector<std::uint32_t> best_ids;
  std::vector<float> best_logits, tail_lse;
  std::vector<std::uint64_t> weighted_begin{0};
  std::vector<std::uint32_t> weighted_ids;
  std::vector<float> weights, log_probability;
};

/// Distinct classes, all of the lower three quarters: with four ranks the last has no positives.
inline std::vector<std::uint32_t> some_classes(core::RandomStream& random, std::uint64_t classes,
                                               std::size_t count) {
  std::vector<std::uint32_t> ids;
  while (ids.size() < count) {
    const auto id = static_cast<std::uint32_t>(random.below(classes * 3 / 4));
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

inline Problem make_problem(const Case& what) {
  Problem p;
  p.what = what;
  core::RandomStream random(7, core::RandomUse::test, {3});
  const float spread = what.form.normalised ? 1.0f : 0.4f;
  for (std::uint64_t i = 0; i < what.rows * what.features; ++i)
    p.embeddings.push_back(spread * random.normal());
  for (std::uint64_t i = 0; i < what.classes * what.features; ++i)
    p.weight.push_back(0.8f * random.normal());
  for (std::uint64_t k = 0; k < what.classes; ++k) p.bias.push_back(0.5f * random.normal());
  for (std::uint64_t row = 0; row < what.rows; ++row) {
    const std::size_t golds = row % 5 == 4 ? 2 : 1;
    const auto gold = some_classes(random, what.classes, golds);
    p.labels.insert(p.labels.end(), gold.begin(), gold.end());
    p.label_begin.push_back(static_cast<std::uint32_t>(p.labels.size()));
    // A label row: its own class and three alike, a tenth discarded.
    const auto alike = some_classes(random, what.classes, 3);
    const float background = row % 3 == 0 ? 0.0f : 0.03f / static_cast<float>(what.classes);
    float rest = 1.0f - background * static_cast<float>(what.classes);
    for (const std::uint32_t id : alike) {
      p.soft_ids.push_back(id);
      p.soft_excess.push_back(0.1f);
      rest -= 0.1f;
    }
    p.soft_ids.push_back(gold.front());
    p.soft_excess.push_back(rest);
    p.soft_begin.push_back(p.soft_ids.size());
    p.background.push_back(background);
    auto best = some_classes(random, what.classes, kBest);
    if (row % 2 == 0 && std::find(best.begin(), best.end(), gold.front()) == best.end())
      best[1] = gold.front();
    std::vector<float> logits;
    for (std::uint32_t i = 0; i < kBest; ++i) logits.push_back(4 + 2 * random.normal());
    std::sort(logits.rbegin(), logits.rend());
    p.best_ids.insert(p.best_ids.end(), best.begin(), best.end());
    p.best_logits.insert(p.best_logits.end(), logits.begin(), logits.end());
    p.tail_lse.push_back(3 + random.normal());
    const auto drawn = some_classes(random, what.classes, 1 + row % 4);
    p.weighted_ids.insert(p.weighted_ids.end(), drawn.begin(), drawn.end());
    for (std::size_t i = 0; i < drawn.size(); ++i) {
      p.weights.push_back(0.1f + random.uniform());
      p.log_probability.push_back(-random.uniform());
    }
    p.weighted_begin.push_back(p.weighted_ids.size());
  }
  return p;
}

/// Rows of a problem as targets; T float of a rank's part, double of the whole.
template <class T>
struct Targets {
  std::vector<std::uint32_t> label_begin{0}, labels;
  std::vector<std::uint64_t> soft_begin{0}, weighted_begin{0};
  std::vector<std::uint32_t> soft_ids, best_ids, weighted_ids;
  std::vector<T> soft_excess, background, best_logits, tail_lse, weights, log_probability;
  BackgroundTargets<T> soft_labels;
  HardTargets<T> hard;
  SparseTargets<T> best;
  WeightedTargets<T> weighted;
  LossTargets<T> targets;
};

template <class T>
void fill(const Problem& p, Range rows, Targets<T>& t) {
  const auto append = [](auto& to, const auto& from, std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t i = begin; i < end; ++i)
      to.push_back(static_cast<typename std::decay_t<decltype(to)>::value_type>(from[i]));
  };
  for (std::uint64_t row = rows.begin; row < rows.end; ++row) {
    append(t.labels, p.labels, p.label_begin[row], p.label_begin[row + 1]);
    t.label_begin.push_back(static_cast<std::uint32_t>(t.labels.size()));
    append(t.soft_ids, p.soft_ids, p.soft_begin[row], p.soft_begin[row + 1]);
    append(t.soft_excess, p.soft_excess, p.soft_begin[row], p.soft_begin[row + 1]);
    t.soft_begin.push_back(t.soft_ids.size());
    append(t.background, p.background, row, row + 1);
    append(t.best_ids, p.best_ids, row * kBest, (row + 1) * kBest);
    append(t.best_logits, p.best_logits, row * kBest, (row + 1) * kBest);
    append(t.tail_lse, p.tail_lse, row, row + 1);
    append(t.weighted_ids, p.weighted_ids, p.weighted_begin[row], p.weighted_begin[row + 1]);
    append(t.weights, p.weights, p.weighted_begin[row], p.weighted_begin[row + 1]);
    append(t.log_probability, p.log_probability, p.weighted_begin[row], p.weighted_begin[row + 1]);
    t.weighted_begin.push_back(t.weighted_ids.size());
  }
  const Case& what = p.what;
  t.soft_labels = {t.soft_begin, t.soft_ids, t.soft_excess, t.background};
  t.hard = {t.label_begin, t.labels, what.target == Target::smoothed ? T(0.1) : T(0)};
  if (what.target == Target::label_rows) t.hard.soft_labels = &t.soft_labels;
  t.best = {kBest, t.best_ids, t.best_logits, t.tail_lse};
  t.weighted = {t.weighted_begin, t.weighted_ids, t.weights, t.log_probability};
  if (what.target == Target::unlabelled) t.weighted.log_probability = {};
  const double share = 1 / static_cast<double>(what.rows);
  t.targets.rows = rows.size();
  if (what.target != Target::unlabelled) {
    t.targets.hard = &t.hard;
    t.targets.hard_weight = 0.7 * share;
  }
  if (what.target == Target::best) t.targets.best = &t.best;
  if (what.target == Target::draws || what.target == Target::unlabelled)
    t.targets.weighted = &t.weighted;
  t.targets.options = {
      what.tail,
      what.target == Target::unlabelled ? SoftScale::none : SoftScale::temperature_squared,
      what.target == Target::unlabelled ? 1 : what.temperature};
  t.targets.soft_weight = 0.3 * share;
}

struct Reference {
  LossSums sums;
  std::vector<double> embeddings, weight, bias;
};

/// The classes that take part, of all tiles.
inline std::vector<std::uint32_t> sample_of(const Problem& p, const ListedClasses& listed) {
  const ClassTiles tiles(p.what.classes);
  std::vector<std::uint32_t> all;
  for (std::uint64_t tile = 0; tile < tiles.count(); ++tile) {
    const Range range = tiles.classes_of(tile);
    std::vector<std::uint32_t> ids;
    for (const std::uint32_t id : listed.ids)
      if (range.contains(id)) ids.push_back(id);
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    for (const std::uint32_t id : sample_classes({p.what.rate, 11}, 3, tile, range, ids))
      all.push_back(id);
  }
  return all;
}

inline at::Tensor tensor(const std::vector<float>& values, std::int64_t columns) {
  return at::tensor(std::vector<double>(values.begin(), values.end()), at::kDouble)
      .reshape({-1, columns});
}
inline std::vector<double> values(const at::Tensor& tensor) {
  const at::Tensor flat = tensor.contiguous().reshape({-1});
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

inline at::Tensor with_margin(const Problem& p, const std::vector<std::uint32_t>& sample,
                              const at::Tensor& logits) {
  const Margin& margin = p.what.margin;
  if (margin.none()) return logits;
  at::Tensor mask = at::zeros_like(logits, at::kBool);
  for (std::uint64_t row = 0; row < p.what.rows; ++row)
    for (std::uint32_t i = p.label_begin[row]; i < p.label_begin[row + 1]; ++i) {
      const auto at = std::lower_bound(sample.begin(), sample.end(), p.labels[i]) - sample.begin();
      mask[static_cast<std::int64_t>(row)][at] = true;
    }
  const at::Tensor angle = margin.factor * at::acos(logits / margin.scale) + margin.angle;
  const at::Tensor turns = at::floor(angle / std::numbers::pi).detach();
  const at::Tensor sign = 1 - 2 * at::remainder(turns, 2);
  return at::where(mask, margin.scale * (sign * at::cos(angle) - 2 * turns - margin.cosine),
                   logits);
}

inline Reference reference(const Problem& p) {
  const Case& what = p.what;
  Targets<double> t;
  fill(p, {0, what.rows}, t);
  const ListedLoss<double> named(t.targets, what.classes);
  const auto sample = sample_of(p, named.listed());
  const auto n = static_cast<std::uint64_t>(sample.size());
  const auto features = static_cast<std::int64_t>(what.features);
  std::vector<std::int64_t> index(sample.begin(), sample.end());
  at::Tensor x = tensor(p.embeddings, features).requires_grad_(true);
  at::Tensor w = tensor(p.weight, features).requires_grad_(true);
  at::Tensor b = tensor(p.bias, 1).requires_grad_(true);
  const at::Tensor part = w.index_select(0, at::tensor(index, at::kLong));
  at::Tensor plain;
  if (what.form.normalised)
    plain = what.form.scale * (x / x.norm(2, 1, true)).matmul((part / part.norm(2, 1, true)).t());
  else
    plain = x.matmul(part.t());
  if (what.bias) plain = plain + b.index_select(0, at::tensor(index, at::kLong)).t();
  const at::Tensor logits = with_margin(p, sample, plain).contiguous();

  // The same targets among the sampled classes: the share of all others is that of fewer.
  const auto renumber = [&](std::vector<std::uint32_t>& ids) {
    for (std::uint32_t& id : ids)
      id = static_cast<std::uint32_t>(std::lower_bound(sample.begin(), sample.end(), id) -
                                      sample.begin());
  };
  std::vector<std::uint64_t> begin{0};
  std::vector<std::uint32_t> ids;
  std::vector<double> excess, background;
  for (std::uint64_t row = 0; row < what.rows; ++row) {
    std::map<std::uint32_t, double> target;
    double even = 0;
    if (what.target == Target::label_rows) {
      even = t.background[row];
      for (std::uint64_t at = t.soft_begin[row]; at < t.soft_begin[row + 1]; ++at)
        target[t.soft_ids[at]] += t.soft_excess[at];
    } else {
      even = t.hard.smoothing / static_cast<double>(what.classes);
      for (std::uint32_t at = t.label_begin[row]; at < t.label_begin[row + 1]; ++at)
        target[t.labels[at]] += (1 - t.hard.smoothing) /
                                static_cast<double>(t.label_begin[row + 1] - t.label_begin[row]);
    }
    const auto listed = named.listed().of(row);
    const double share = even * static_cast<double>(what.classes - listed.size()) /
                         static_cast<double>(n - listed.size());
    for (const std::uint32_t id : listed) {
      ids.push_back(id);
      excess.push_back(target[id] + even - share);
    }
    begin.push_back(ids.size());
    background.push_back(share);
  }
  renumber(ids);
  renumber(t.labels);
  renumber(t.best_ids);
  renumber(t.weighted_ids);
  const BackgroundTargets<double> soft_labels{begin, ids, excess, background};
  HardTargets<double> hard{t.label_begin, t.labels, 0, &soft_labels};

  Reference result;
  std::vector<double> gradient(what.rows * n);
  const std::span<const double> z(logits.data_ptr<double>(), what.rows * n);
  if (what.target == Target::unlabelled) {
    result.sums = unlabelled_loss_and_gradient<double>(what.rows, n, z, t.weighted,
                                                       t.targets.soft_weight, gradient);
    result.sums.soft = result.sums.unlabelled;
  } else if (what.target == Target::draws) {
    result.sums = weighted_loss_and_gradient<double>(what.rows, n, z, &hard, t.targets.hard_weight,
                                                     t.weighted, t.targets.options,
                                                     t.targets.soft_weight, gradient);
  } else {
    result.sums = loss_and_gradient<double>(what.rows, n, z, &hard, t.targets.hard_weight,
                                            what.target == Target::best ? &t.best : nullptr,
                                            t.targets.options, t.targets.soft_weight, gradient);
  }
  const at::Tensor on_logits =
      at::tensor(gradient, at::kDouble).reshape({static_cast<std::int64_t>(what.rows), -1});
  std::vector<at::Tensor> leaves{x, w};
  if (what.bias) leaves.push_back(b);
  const auto gradients = torch::autograd::grad({logits}, leaves, {on_logits});
  result.embeddings = values(gradients[0]);
  result.weight = values(gradients[1]);
  if (what.bias) result.bias = values(gradients[2]);
  return result;
}

}  // namespace retort::nn
