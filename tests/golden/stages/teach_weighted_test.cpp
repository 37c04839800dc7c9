// Draws and labels of golden/topk-distillation.json by way of disk: what comes back from shards,
// and the losses on it.
#include <cmath>
#include <map>
#include <numeric>

#include "io/logit_store.h"
#include "io/weighted_row.h"
#include "nn/kernels/draws.h"
#include "nn/loss.h"
#include "tests/golden/nn/topk_cases.h"
#include "tests/golden/stages/exact_teacher.h"
#include "tests/unit/core/temporary_folder.h"

namespace retort::stages {
namespace {

using namespace golden;

nn::Proposal proposal_of(const Json& parameters) {
  return {parameters.at("proposal_exponent"), parameters.at("capture_temperature")};
}
nn::Normalisation normalisation_of(const Json& parameters) {
  return parameters.at("normalise_weights") == "self" ? nn::Normalisation::self
                                                      : nn::Normalisation::none;
}

class TeachWeighted : public testing::Test {
 protected:
  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }
  void write_problem(std::size_t rows, std::size_t classes, const std::vector<float>& dense,
                     std::size_t samples) {
    for (const char* name : {"data", "teacher", "exact", "logits"})
      std::filesystem::remove_all(path(name));
    write_exact_teacher(folder_.path(), rows, classes, dense, samples);
  }
  void teach(std::vector<GivenOption> options) {
    comm::Communicator one = comm::Communicator::single();
    options.insert(options.end(), {{"model", path("exact").string(), "test"},
                                   {"out", path("logits").string(), "test"}});
    ASSERT_EQ(run_stage(one, "teach", options), StageOutcome::done);
  }
  static std::vector<std::uint64_t> all_samples(const io::LogitStore& store) {
    std::vector<std::uint64_t> samples(store.facts().samples);
    std::iota(samples.begin(), samples.end(), 0);
    return samples;
  }

 private:
  core::TemporaryFolder folder_;
};

/// Importance weights of read rows.
std::vector<float> weights_of(const io::SampledRows& rows, const Json& parameters) {
  const std::size_t temperatures = rows.full_lse.size() / (rows.begin.size() - 1);
  EXPECT_EQ(temperatures, 1u);
  std::vector<float> weights(rows.ids.size()), log_probability(rows.ids.size());
  for (std::size_t row = 0; row + 1 < rows.begin.size(); ++row) {
    const auto part = [&](auto& values) {
      return std::span(values).subspan(rows.begin[row], rows.begin[row + 1] - rows.begin[row]);
    };
    nn::importance_weights<float>(
        part(rows.counts), part(rows.logits), part(rows.log_proposal), proposal_of(parameters),
        parameters.at("temperature"), static_cast<double>(rows.full_lse[row]),
        normalisation_of(parameters), part(weights), part(log_probability));
  }
  return weights;
}

/// Sum of losses and gradients of `student` (a row for each of the read ones).
std::vector<double> sampled_loss(const io::SampledRows& rows, const Json& parameters,
                                 const std::vector<float>& student, std::vector<float>& grad) {
  const std::uint64_t n = parameters.at("N");
  const std::vector<float> weights = weights_of(rows, parameters);
  nn::SoftOptions options;
  options.scale = scale_of(parameters.at("soft_scale"));
  options.temperature = parameters.at("temperature");
  std::vector<double> losses;
  grad.resize(student.size());
  for (std::size_t row = 0; row + 1 < rows.begin.size(); ++row) {
    const std::uint64_t begin = rows.begin[row], count = rows.begin[row + 1] - begin;
    const std::vector<std::uint64_t> one = {0, count};
    losses.push_back(nn::weighted_loss_and_gradient<float>(
                         1, n, std::span(student).subspan(row * n, n), nullptr, 0,
                         {one,
                          std::span(rows.ids).subspan(begin, count),
                          std::span(weights).subspan(begin, count),
                          {}},
                         options, 1, std::span(grad).subspan(row * n, n))
                         .soft);
  }
  return losses;
}

// The file fixes the uniforms, so its draws are encoded as teach encodes its own.
TEST_F(TeachWeighted, FixedDrawsComeBackAsTheyWere) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "sampled")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json &parameters = each.at("parameters"), &expected = each.at("expected");
    const std::uint64_t n = parameters.at("N");
    const auto teacher = flat<float>(each.at("inputs").at("teacher_logits"));
    const auto student = flat<float>(each.at("inputs").at("student_logits"));
    const nn::Proposal proposal = proposal_of(parameters);
    const double temperature = parameters.at("temperature");
    io::LogitFacts facts;
    facts.layout = {n,
                    0,
                    io::IdForm::packed,
                    {},
                    {temperature},
                    io::RowForm::sampled,
                    {parameters.at("rounds"), proposal.exponent, proposal.temperature}};
    facts.samples = facts.shard_samples = student.size() / n;
    io::EncodedRows encoded;
    for (std::uint64_t row = 0; row < facts.samples; ++row) {
      const auto logits = std::span<const float>(teacher).subspan(row * n, n);
      nn::Draws<float> draws = nn::draw_classes<float>(
          logits, proposal, flat<double>(each.at("inputs").at("uniforms")[row]));
      std::vector<float> full(1);
      nn::full_log_sum_exp<float>(logits, facts.layout.temperatures, full);
      const std::size_t size = facts.layout.sampled_row_bytes(draws.ids.size());
      encoded.bytes.resize(encoded.bytes.size() + size);
      io::encode_sampled_row(facts.layout,
                             {draws.ids, draws.counts, draws.logits, draws.log_proposal, full},
                             std::span(encoded.bytes).last(size));
      encoded.ends.push_back(encoded.bytes.size());
    }
    std::filesystem::remove_all(path("logits"));
    io::Manifest manifest;
    manifest.kind = "logits";
    io::add_part(manifest.facts, facts);
    const auto image = io::logit_shard_image(facts, 0, {0, facts.samples}, encoded);
    const std::string name = io::logit_shard_name(0, 0);
    std::filesystem::create_directories(path("logits") / "pass-00");
    manifest.members.push_back(
        {name, io::write_file(path("logits") / name, image), io::logit_member_facts(image, name)});
    io::write_manifest(path("logits"), manifest);

    const io::LogitStore store(path("logits"));
    const io::SampledRows rows = store.read_sampled(0, all_samples(store));
    EXPECT_EQ(rows.ids, flat<std::uint32_t>(expected.at("ids")));
    EXPECT_EQ(rows.counts, flat<std::uint32_t>(expected.at("counts")));
    std::vector<float> grad;
    const auto losses = sampled_loss(rows, parameters, student, grad);
    double size = factor_of(scale_of(parameters.at("soft_scale")), temperature);
    for (const float w : weights_of(rows, parameters))
      size = std::max(size, static_cast<double>(w));
    expect_close<float>(losses, flat<double>(expected.at("row_loss")), Quantity::loss, size,
                        "row_loss");
    expect_close<float>(grad, flat<double>(expected.at("grad")), Quantity::gradient, size, "grad");
  }
}

// teach draws with its own uniforms: over many samples of one teacher's row the mean weight of a
// class is its probability, and the mean gradient that of the full target.
TEST_F(TeachWeighted, StoredDrawsAreUnbiased) {
  RETORT_LOAD_GOLDEN(file, kFile);
  constexpr std::size_t kSamples = 40'000;
  for (const Json& each : cases_of(file, "sampled_expectation")) {
    const Json &parameters = each.at("parameters"), &expected = each.at("expected");
    if (normalisation_of(parameters) == nn::Normalisation::self) continue;
    SCOPED_TRACE(each.at("name").get<std::string>());
    const std::uint64_t n = parameters.at("N");
    const auto student = flat<float>(each.at("inputs").at("student_logits"));
    write_problem(1, n, flat<float>(each.at("inputs").at("teacher_logits")), kSamples);
    const auto text = [&](const char* name) { return parameters.at(name).dump(); };
    teach({{"data", path("data").string(), "test"},
           {"sample", text("rounds"), "test"},
           {"sample-exponent", text("proposal_exponent"), "test"},
           {"sample-temperature", text("capture_temperature"), "test"},
           {"temperatures", text("temperature"), "test"},
           {"batch", "4096", "test"}});
    const io::LogitStore store(path("logits"));
    const io::SampledRows rows = store.read_sampled(0, all_samples(store));
    const std::vector<float> weights = weights_of(rows, parameters);
    // Mean and variance of each class's weight over the samples.
    std::vector<double> sum(n), squares(n), mean_grad(n), grad_squares(n);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double w = static_cast<double>(weights[i]);
      sum[rows.ids[i]] += w;
      squares[rows.ids[i]] += w * w;
    }
    std::vector<float> students, grad;
    for (std::size_t i = 0; i < kSamples; ++i)
      students.insert(students.end(), student.begin(), student.end());
    sampled_loss(rows, parameters, students, grad);
    for (std::size_t i = 0; i < grad.size(); ++i) {
      const double g = static_cast<double>(grad[i]);
      mean_grad[i % n] += g;
      grad_squares[i % n] += g * g;
    }
    const auto target = flat<double>(expected.at("full_target"));
    const auto gradient = flat<double>(expected.at("full_grad"));
    for (std::size_t c = 0; c < n; ++c) {
      const auto near = [&](double total, double square, double wanted, const char* what) {
        const double mean = total / kSamples;
        const double deviation = std::sqrt((square / kSamples - mean * mean) / kSamples);
        EXPECT_NEAR(mean, wanted, 5 * deviation + 1e-6) << what << " of class " << c;
        EXPECT_LT(deviation, 0.02);  // the test could see a bias
      };
      near(sum[c], squares[c], target[c], "weight");
      near(mean_grad[c], grad_squares[c], gradient[c], "gradient");
    }
  }
}

TEST_F(TeachWeighted, LabelsOfUnlabelledSamples) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "capture")) {
    if (!each.at("expected").contains("toph_ids")) continue;
    SCOPED_TRACE(each.at("name").get<std::string>());
    const auto logits = flat<float>(each.at("inputs").at("teacher_logits"));
    const std::size_t n = each.at("parameters").at("N"), rows = logits.size() / n;
    write_problem(rows, n, logits, rows);
    teach({{"unlabelled", path("data").string(), "test"},
           {"top-h", each.at("parameters").at("H").dump(), "test"}});
    const io::LogitStore store(path("logits"), io::LogitPart::unlabelled);
    std::vector<std::uint32_t> ids(rows * store.facts().layout.top_k);
    std::vector<float> probabilities(ids.size());
    store.read_labels(0, all_samples(store), ids, probabilities);
    EXPECT_EQ(ids, flat<std::uint32_t>(each.at("expected").at("toph_ids")));
    expect_close<float>(probabilities, flat<double>(each.at("expected").at("toph_probs")),
                        Quantity::gradient, 1, "toph_probs");
  }
}

TEST_F(TeachWeighted, UnlabelledLossFromShards) {
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "unlabelled")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json& inputs = each.at("inputs");
    const std::size_t n = each.at("parameters").at("N"), h = each.at("parameters").at("H");
    const auto student = flat<float>(inputs.at("student_logits"));
    const auto listed = flat<std::uint32_t>(inputs.at("toph_ids"));
    const auto probabilities = flat<double>(inputs.at("toph_probs"));
    const std::size_t rows = listed.size() / h;
    // Logits that give these probabilities; the rest is spread evenly over the other classes.
    std::vector<float> dense(rows * n);
    for (std::size_t row = 0; row < rows; ++row) {
      double rest = 1;
      for (std::size_t i = row * h; i < (row + 1) * h; ++i) rest -= probabilities[i];
      const auto log_of = [](double p) { return std::log(std::max(p, 1e-30)); };
      // Below the last listed one, as its rank says, where rounding would hide it.
      const double others = std::min(log_of(rest / static_cast<double>(n - h)),
                                     log_of(probabilities[(row + 1) * h - 1]) - 1e-3);
      for (std::size_t c = 0; c < n; ++c) dense[row * n + c] = static_cast<float>(others);
      for (std::size_t i = row * h; i < (row + 1) * h; ++i)
        dense[row * n + listed[i]] = static_cast<float>(log_of(probabilities[i]));
    }
    write_problem(rows, n, dense, rows);
    teach({{"unlabelled", path("data").string(), "test"}, {"top-h", std::to_string(h), "test"}});
    const io::LogitStore store(path("logits"), io::LogitPart::unlabelled);
    std::vector<std::uint32_t> ids(rows * h);
    std::vector<float> stored(ids.size()), weights(ids.size());
    store.read_labels(0, all_samples(store), ids, stored);
    EXPECT_EQ(ids, listed);
    std::vector<std::uint64_t> begin;
    for (std::size_t row = 0; row <= rows; ++row) begin.push_back(row * h);
    const std::map<std::string, nn::UnlabelledWeights> choices = {
        {"renormalised", nn::UnlabelledWeights::renormalised},
        {"uniform", nn::UnlabelledWeights::uniform},
        {"raw", nn::UnlabelledWeights::raw}};
    for (const auto& [choice, expected] : each.at("expected").items()) {
      SCOPED_TRACE(choice);
      nn::unlabelled_weights<float>(static_cast<std::uint32_t>(h), stored, choices.at(choice),
                                    weights);
      std::vector<float> grad(student.size());
      nn::unlabelled_loss_and_gradient<float>(rows, n, student, {begin, ids, weights, {}}, 1,
                                              std::span(grad));
      expect_close<float>(grad, flat<double>(expected.at("grad")), Quantity::gradient, 1, "grad");
    }
  }
}

}  // namespace
}  // namespace retort::stages
