// Kinds hard, soft and total of golden/topk-distillation.json and the trainings of
// golden/similarity-labels.json through the class-sharded head: its weight is the identity, so that
// embeddings are the logits of the file.
#include "stages/sharded_head.h"

#include "tests/golden/nn/similarity_cases.h"
#include "tests/golden/nn/topk_cases.h"

namespace retort::stages {
namespace {

using namespace golden;

/// Value and gradient on the logits, [rows, classes].
struct HeadLoss {
  nn::LossSums sums;
  std::vector<float> grad;
};
std::vector<float> identity_of(std::uint64_t classes) {
  std::vector<float> identity(classes * classes);
  for (std::uint64_t k = 0; k < classes; ++k) identity[k * classes + k] = 1;
  return identity;
}
HeadLoss by_head(std::uint64_t classes, std::span<const float> logits,
                 const nn::LossTargets<float>& targets) {
  comm::Communicator single = comm::Communicator::single();
  Workers workers(2);
  ShardedHead head(single, workers, {.classes = classes, .features = classes});
  const std::vector<float> identity = identity_of(classes);
  nn::ListedLoss<float> loss(targets, classes);
  const nn::HeadWeights weights{0, identity.data(), nullptr};
  const nn::LossSums sums = head.solve<float>(0, logits, {&loss, 1}, weights).front();
  return {sums, head.gradients(weights, [](const nn::ClassGradients&) {})};
}

template <class T>
std::span<const T> row_of(const std::vector<T>& values, std::uint64_t row, std::uint64_t n) {
  return std::span(values).subspan(row * n, n);
}

TEST(ShardedHeadGolden, Hard) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "hard")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const auto logits = flat<float>(each.at("inputs").at("student_logits"));
    const std::uint64_t n = each.at("parameters").at("N");
    std::vector<double> losses;
    std::vector<float> grad;
    for (std::uint64_t row = 0; row < logits.size() / n; ++row) {
      Gold gold;
      gold.add(each.at("inputs").at("gold_labels")[row]);
      const nn::HardTargets<float> hard{gold.begin, gold.labels};
      const HeadLoss found =
          by_head(n, row_of(logits, row, n), {.rows = 1, .hard = &hard, .hard_weight = 1});
      losses.push_back(found.sums.hard);
      grad.insert(grad.end(), found.grad.begin(), found.grad.end());
    }
    expect_close<float>(losses, flat<double>(each.at("expected").at("row_loss")), Quantity::loss, 1,
                        "row_loss");
    expect_close<float>(grad, flat<double>(each.at("expected").at("grad")), Quantity::gradient, 1,
                        "grad");
  }
}

TEST(ShardedHeadGolden, SoftInEveryMode) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "soft")) {
    const Json &parameters = each.at("parameters"), &inputs = each.at("inputs");
    const auto logits = flat<float>(inputs.at("student_logits"));
    const auto ids = flat<std::uint32_t>(inputs.at("topk_ids"));
    const auto stored = flat<float>(inputs.at("topk_logits"));
    const auto tail = flat<float>(inputs.at("tail_lse"));
    const std::uint64_t n = parameters.at("N");
    const std::uint32_t k = parameters.at("K");
    for (const auto& [mode, expected] : each.at("expected").items()) {
      SCOPED_TRACE(each.at("name").get<std::string>() + ", " + mode);
      const nn::SoftOptions options{mode_of(mode), scale_of(parameters.at("soft_scale")),
                                    parameters.at("temperature")};
      const double factor = factor_of(options.scale, options.temperature);
      std::vector<double> losses, kl;
      std::vector<float> grad;
      for (std::uint64_t row = 0; row < logits.size() / n; ++row) {
        const nn::SparseTargets<float> soft{k, row_of(ids, row, k), row_of(stored, row, k),
                                            row_of(tail, row, 1)};
        const HeadLoss found =
            by_head(n, row_of(logits, row, n),
                    {.rows = 1, .best = &soft, .options = options, .soft_weight = 1});
        losses.push_back(found.sums.soft);
        kl.push_back(found.sums.kl);
        grad.insert(grad.end(), found.grad.begin(), found.grad.end());
      }
      expect_close<float>(losses, flat<double>(expected.at("row_loss")), Quantity::loss, factor,
                          "row_loss");
      expect_close<float>(kl, flat<double>(expected.at("row_kl")), Quantity::loss, factor,
                          "row_kl");
      expect_close<float>(grad, flat<double>(expected.at("grad")), Quantity::gradient, factor,
                          "grad");
    }
  }
}

/// Ragged weights in the making.
struct Ragged {
  std::vector<std::uint64_t> begin = {0};
  std::vector<std::uint32_t> ids;
  std::vector<float> weights;
  void add(const Json& more_ids, const std::vector<float>& more_weights) {
    append(more_ids, ids);
    weights.insert(weights.end(), more_weights.begin(), more_weights.end());
    begin.push_back(ids.size());
  }
  nn::WeightedTargets<float> view() const { return {begin, ids, weights, {}}; }
};

TEST(ShardedHeadGolden, Total) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "total")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json &parameters = each.at("parameters"), &inputs = each.at("inputs");
    const Json& expected = each.at("expected");
    const bool sampled = parameters.at("tail_mode") == "sampled";
    std::vector<float> known, unknown, stored, tail;
    std::vector<double> known_grad, unknown_grad;
    std::vector<std::uint32_t> ids;
    Gold gold;
    Ragged draws, labels;
    for (std::size_t row = 0; row < inputs.at("is_labelled").size(); ++row) {
      const bool labelled = inputs.at("is_labelled")[row];
      append(inputs.at("student_logits")[row], labelled ? known : unknown);
      append(expected.at("grad")[row], labelled ? known_grad : unknown_grad);
      if (!labelled) {
        const auto probabilities = flat<float>(inputs.at("toph_probs")[row]);
        std::vector<float> weights(probabilities.size());
        nn::unlabelled_weights<float>(static_cast<std::uint32_t>(weights.size()), probabilities,
                                      weighting_of(parameters.at("unlabelled_weighting")), weights);
        labels.add(inputs.at("toph_ids")[row], weights);
        continue;
      }
      gold.add(inputs.at("gold_labels")[row]);
      if (sampled) {
        draws.add(inputs.at("sampled_ids")[row], flat<float>(inputs.at("sampled_weights")[row]));
      } else {
        append(inputs.at("topk_ids")[row], ids);
        append(inputs.at("topk_logits")[row], stored);
        tail.push_back(static_cast<float>(number(inputs.at("tail_lse")[row])));
      }
    }
    const std::uint64_t n = parameters.at("N");
    const std::uint64_t labelled = known.size() / n, others = unknown.size() / n;
    const double alpha = parameters.at("alpha"), beta = parameters.at("beta");
    nn::SoftOptions options{.scale = scale_of(parameters.at("soft_scale")),
                            .temperature = parameters.at("temperature")};
    if (!sampled) options.tail = mode_of(parameters.at("tail_mode"));
    const double size = factor_of(options.scale, options.temperature);
    double hard = 0, soft = 0, unlabelled = 0;
    if (labelled > 0) {
      const nn::HardTargets<float> targets{gold.begin, gold.labels};
      const nn::SparseTargets<float> best{parameters.at("K").get<std::uint32_t>(), ids, stored,
                                          tail};
      const auto weighted = draws.view();
      const HeadLoss found =
          by_head(n, known,
                  {.rows = labelled,
                   .hard = &targets,
                   .hard_weight = alpha / divisor_of(parameters, labelled),
                   .best = sampled ? nullptr : &best,
                   .weighted = sampled ? &weighted : nullptr,
                   .options = options,
                   .soft_weight = (1 - alpha) / divisor_of(parameters, labelled)});
      expect_close<float>(found.grad, known_grad, Quantity::gradient, size, "labelled rows");
      hard = found.sums.hard / divisor_of(parameters, labelled);
      soft = found.sums.soft / divisor_of(parameters, labelled);
    }
    if (others > 0) {
      const auto weighted = labels.view();
      const HeadLoss found = by_head(n, unknown,
                                     {.rows = others,
                                      .weighted = &weighted,
                                      .options = {.scale = nn::SoftScale::none},
                                      .soft_weight = beta / divisor_of(parameters, others)});
      expect_close<float>(found.grad, unknown_grad, Quantity::gradient, size, "unlabelled rows");
      unlabelled = found.sums.soft / divisor_of(parameters, others);
    }
    expect_total<float>(parameters, expected, hard, soft, unlabelled, size);
  }
}

/// What a shard of classes knows of a row: of all its classes z, below m, the row's largest logit.
struct ShardSums {
  double max = 0, sum_exp = 0, sum_z = 0, sparse_dot = 0;
};

/// From the pass of a head over a range of classes and the logits that it puts at their places.
std::vector<ShardSums> sums_of_shard(core::Range range, std::span<const float> logits,
                                     std::uint64_t classes, const nn::ListedClasses& listed,
                                     const nn::BackgroundTargets<float>& targets) {
  const std::uint64_t rows = listed.rows();
  const nn::HeadRows embeddings(rows, classes, logits);
  nn::TilePass pass({}, embeddings);
  const std::vector<float> identity = identity_of(classes);
  std::vector<float> highest(rows);
  std::vector<std::uint32_t> first(rows);
  std::vector<double> exp_sum(rows), total(rows), of_listed(listed.ids.size());
  const nn::ListedByClass entries(listed, range);
  pass.sums(
      {0, identity.data(), nullptr}, {.first = range.begin, .count = range.size()}, entries.all(),
      1,
      {.highest = highest, .first = first, .exp_sum = exp_sum, .soft_exp_sum = {}, .total = total},
      of_listed);
  std::vector<ShardSums> shard(rows);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const auto of_row = logits.subspan(row * classes, classes);
    const double m = static_cast<double>(*std::max_element(of_row.begin(), of_row.end()));
    ShardSums& sums = shard[row];
    sums.max = static_cast<double>(highest[row]);
    sums.sum_exp = exp_sum[row] * std::exp(sums.max - m);
    sums.sum_z = total[row] - static_cast<double>(range.size()) * m;
    for (const nn::ListedByClass::Entry& entry : entries.all()) {
      if (entry.row != row) continue;
      const double z = of_listed[entry.place];
      sums.max = std::max(sums.max, z);
      sums.sum_exp += std::exp(z - m);
      sums.sum_z += z;
      for (std::uint64_t at = targets.begin[row]; at < targets.begin[row + 1]; ++at)
        if (targets.ids[at] == entry.id)
          sums.sparse_dot += static_cast<double>(targets.excess[at]) * (z - m);
    }
  }
  return shard;
}

TEST(ShardedHeadGolden, LabelRows) {
  RETORT_LOAD_GOLDEN(file, "similarity-labels.json");
  std::size_t trainings = 0, shards = 0;
  for (const Json& test : file.at("cases")) {
    if (!test.contains("training")) continue;
    for (const Json& training : test.at("training")) {
      SCOPED_TRACE(test.at("name").get<std::string>());
      const TrainingRows rows(test, training);
      const Json& expected = training.at("expected");
      const auto gold = training.at("classes").get<std::vector<std::uint32_t>>();
      const auto targets = rows.targets<float>(training, gold);
      const auto view = targets.view();
      const auto logits = flat<float>(training.at("logits"));
      std::vector<std::uint32_t> begin(gold.size() + 1);
      std::iota(begin.begin(), begin.end(), 0U);
      const nn::HardTargets<float> hard{begin, gold, 0, &view};
      const nn::LossTargets<float> asked{
          .rows = gold.size(), .hard = &hard, .hard_weight = 1 / static_cast<double>(gold.size())};
      const HeadLoss found = by_head(rows.classes(), logits, asked);
      expect_close<float>(std::vector<double>{found.sums.hard / static_cast<double>(gold.size())},
                          {expected.at("loss").get<double>()}, Quantity::loss, 1, "loss");
      expect_close<float>(found.grad, flat<double>(expected.at("grad")), Quantity::gradient, 1,
                          "grad");
      ++trainings;
      if (!expected.contains("shards")) continue;
      const nn::ListedLoss<float> loss(asked, rows.classes());
      for (const Json& shard : expected.at("shards")) {
        const auto range = shard.at("classes").get<std::array<std::uint64_t, 2>>();
        const auto sums =
            sums_of_shard({range[0], range[1]}, logits, rows.classes(), loss.listed(), view);
        const auto compare = [&](const char* name, double ShardSums::*number) {
          std::vector<double> numbers;
          for (const ShardSums& row : sums) numbers.push_back(row.*number);
          expect_close<float>(numbers, flat<double>(shard.at(name)), Quantity::loss, 1, name);
        };
        compare("max", &ShardSums::max);
        compare("sum_exp", &ShardSums::sum_exp);
        compare("sum_z", &ShardSums::sum_z);
        compare("sparse_dot", &ShardSums::sparse_dot);
        ++shards;
      }
    }
  }
  EXPECT_EQ(trainings, 45U);
  EXPECT_GT(shards, 20U);
}

}  // namespace
}  // namespace retort::stages
