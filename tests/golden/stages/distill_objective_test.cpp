// Kind total of golden/topk-distillation.json by the objective that distill trains with: answers
// from shards, labelled and unlabelled rows mixed in several micro-shards, divisors of the global
// batch.
#include "stages/distill_objective.h"

#include <cmath>
#include <map>

#include "io/manifest.h"
#include "tests/golden/nn/topk_cases.h"
#include "tests/unit/core/temporary_folder.h"
#include "tests/unit/io/write_logits.h"

namespace retort::stages {
namespace {

using namespace golden;

/// A case's rows, labelled ones first.
struct Problem {
  explicit Problem(const Json& each) : parameters(each.at("parameters")) {
    const Json& inputs = each.at("inputs");
    for (const bool labelled : {true, false})
      for (std::size_t row = 0; row < inputs.at("is_labelled").size(); ++row) {
        if (inputs.at("is_labelled")[row] != labelled) continue;
        append(inputs.at("student_logits")[row], student);
        append(each.at("expected").at("grad")[row], grad);
        if (!labelled) {
          labels.push_back({flat<std::uint32_t>(inputs.at("toph_ids")[row]),
                            flat<float>(inputs.at("toph_probs")[row])});
          continue;
        }
        gold.push_back(flat<std::uint32_t>(inputs.at("gold_labels")[row]));
        if (sampled())
          add_draws(inputs, row);
        else
          add_best(inputs, row);
      }
  }
  bool sampled() const { return parameters.at("tail_mode") == "sampled"; }
  std::uint64_t classes() const { return parameters.at("N"); }

  io::LogitFacts facts(io::RowForm form) const {
    io::LogitFacts facts;
    facts.layout.classes = classes();
    facts.layout.form = form;
    facts.layout.precision = io::LogitPrecision::fp32;
    if (form == io::RowForm::top_h) {
      facts.layout.top_k = parameters.at("H");
      facts.layout.precision = {};
    } else {
      facts.layout.temperatures = {parameters.at("temperature").get<double>()};
    }
    if (form == io::RowForm::top_k) facts.layout.top_k = parameters.at("K");
    if (form == io::RowForm::sampled) {
      facts.layout.precision = {};
      facts.layout.sampling = {draws_in_row, 1, parameters.at("temperature")};
    }
    facts.samples = form == io::RowForm::top_h ? labels.size() : gold.size();
    facts.shard_samples = std::max<std::uint64_t>(1, facts.samples);
    return facts;
  }
  void write(const std::filesystem::path& folder) {
    io::Manifest manifest = io::logit_manifest();
    const auto row = [](const auto& rows) {
      return [&](const io::LogitLayout&, std::uint64_t, std::uint64_t s) { return rows.at(s); };
    };
    if (sampled())
      io::write_part(folder, facts(io::RowForm::sampled), row(draws), manifest);
    else
      io::write_part(folder, facts(io::RowForm::top_k), row(best), manifest);
    io::write_part(folder, facts(io::RowForm::top_h), row(labels), manifest);
    io::write_manifest(folder, manifest);
  }
  DistillLoss loss() const {
    const std::map<std::string, SoftTail> tails = {
        {"residual", SoftTail::residual},
        {"uniform", SoftTail::uniform},
        {"renormalise", SoftTail::renormalise},
        {"renormalise_stored", SoftTail::renormalise_stored},
        {"sampled", SoftTail::sampled}};
    const std::map<std::string, nn::UnlabelledWeights> weights = {
        {"renormalised", nn::UnlabelledWeights::renormalised},
        {"uniform", nn::UnlabelledWeights::uniform},
        {"raw", nn::UnlabelledWeights::raw}};
    DistillLoss loss;
    loss.alpha = parameters.at("alpha");
    loss.beta = parameters.at("beta");
    loss.tail = tails.at(parameters.at("tail_mode"));
    loss.temperature = parameters.at("temperature");
    loss.scale = scale_of(parameters.at("soft_scale"));
    loss.unlabelled_weights = weights.at(parameters.at("unlabelled_weighting"));
    return loss;
  }

  const Json& parameters;
  std::vector<float> student;
  std::vector<double> grad;
  std::vector<std::vector<std::uint32_t>> gold;
  std::vector<io::OwnedRow> best;
  std::vector<io::OwnedDraws> draws;
  std::vector<io::OwnedLabels> labels;
  std::uint32_t draws_in_row = 0;

 private:
  void add_best(const Json& inputs, std::size_t row) {
    io::LogitLayout layout;
    layout.top_k = parameters.at("K");
    layout.temperatures = {1};
    io::OwnedRow stored(layout);
    stored.ids = flat<std::uint32_t>(inputs.at("topk_ids")[row]);
    stored.logits = flat<float>(inputs.at("topk_logits")[row]);
    stored.tail = {static_cast<float>(number(inputs.at("tail_lse")[row]))};
    best.push_back(stored);
  }
  // The case gives weights: shares of the draws, as temperature and proposal are those of capture.
  void add_draws(const Json& inputs, std::size_t row) {
    const auto ids = flat<std::uint32_t>(inputs.at("sampled_ids")[row]);
    const auto weights = flat<double>(inputs.at("sampled_weights")[row]);
    if (draws_in_row == 0)
      for (draws_in_row = 1; draws_in_row < 1000 && !whole(inputs, draws_in_row);) ++draws_in_row;
    std::map<std::uint32_t, std::uint32_t> counts;
    for (std::size_t i = 0; i < ids.size(); ++i)
      counts[ids[i]] = static_cast<std::uint32_t>(std::lround(weights[i] * draws_in_row));
    io::OwnedDraws drawn;
    for (const auto& [id, count] : counts) {
      drawn.ids.push_back(id);
      drawn.counts.push_back(count);
    }
    drawn.logits.assign(ids.size(), 0);
    drawn.log_proposal.assign(ids.size(), -1);
    drawn.full_lse = {0};
    draws.push_back(drawn);
  }
  static bool whole(const Json& inputs, std::uint32_t draws) {
    for (const double w : flat<double>(inputs.at("sampled_weights")))
      if (std::abs(w * draws - std::round(w * draws)) > 1e-9) return false;
    return true;
  }
};

/// Part `index` of two of the batch.
io::MicroBatch part_of(const Problem& problem, std::uint32_t index) {
  const core::Range labelled = core::partition(problem.gold.size(), 2, index);
  const core::Range others = core::partition(problem.labels.size(), 2, index);
  io::MicroBatch batch;
  batch.labelled = labelled.size();
  batch.label_begin = {0};
  for (std::uint64_t s = labelled.begin; s < labelled.end; ++s) {
    batch.samples.push_back(s);
    batch.labels.insert(batch.labels.end(), problem.gold[s].begin(), problem.gold[s].end());
    batch.label_begin.push_back(static_cast<std::uint32_t>(batch.labels.size()));
  }
  for (std::uint64_t s = others.begin; s < others.end; ++s) {
    batch.samples.push_back(s | io::kUnlabelledTag);
    batch.label_begin.push_back(static_cast<std::uint32_t>(batch.labels.size()));
  }
  return batch;
}

TEST(DistillObjective, GivesTheTotalOfMixedBatches) {
  RETORT_LOAD_GOLDEN(file, kFile);
  int cases = 0;
  for (const Json& each : cases_of(file, "total")) {
    if (each.at("parameters").at("reduction") != "per_term_mean") continue;  // of the page alone
    SCOPED_TRACE(each.at("name").get<std::string>());
    Problem problem(each);
    const core::TemporaryFolder folder;
    problem.write(folder.path());
    const io::LogitStore store(folder.path());
    const io::LogitStore unlabelled(folder.path(), io::LogitPart::unlabelled);
    const DistillLoss loss = problem.loss();
    const HardLabels labels;
    const auto objective = make_distill_objective(loss, labels, store, &unlabelled);
    const std::uint64_t n = problem.classes();
    const BatchRows rows{problem.gold.size(), problem.labels.size()};
    std::vector<float> grad(problem.student.size());
    nn::LossSums sums;
    for (std::uint32_t index = 0; index < 2; ++index) {
      const io::MicroBatch batch = part_of(problem, index);
      const std::uint64_t first = core::partition(rows.labelled, 2, index).begin * n;
      const std::uint64_t second =
          (rows.labelled + core::partition(rows.unlabelled, 2, index).begin) * n;
      const std::uint64_t known = batch.labelled * n;
      const std::uint64_t all = batch.samples.size() * n;
      std::vector<float> logits(all), part(all);
      std::copy_n(problem.student.begin() + static_cast<long>(first), known, logits.begin());
      std::copy_n(problem.student.begin() + static_cast<long>(second), all - known,
                  logits.begin() + static_cast<long>(known));
      const nn::LossSums own = objective->evaluate(n, logits, batch, rows, part);
      sums.hard += own.hard;
      sums.soft += own.soft;
      sums.unlabelled += own.unlabelled;
      std::copy_n(part.begin(), known, grad.begin() + static_cast<long>(first));
      std::copy_n(part.begin() + static_cast<long>(known), all - known,
                  grad.begin() + static_cast<long>(second));
    }
    const double size = factor_of(loss.scale, loss.temperature);
    expect_close<float>(grad, problem.grad, Quantity::gradient, size, "grad");
    expect_close<float>(std::vector<double>{objective->value(sums, rows)},
                        {each.at("expected").at("total").get<double>()}, Quantity::loss, size,
                        "total");
    ++cases;
  }
  EXPECT_GE(cases, 10);
}

}  // namespace
}  // namespace retort::stages
