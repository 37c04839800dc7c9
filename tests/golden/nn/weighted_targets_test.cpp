// Kinds sampled, sampled_expectation, unlabelled and total of golden/topk-distillation.json: every
// case, in fp64 and fp32.
#include <cmath>

#include "nn/kernels/draws.h"
#include "tests/golden/nn/topk_cases.h"

namespace retort::nn {
namespace {

using namespace golden;

template <class T>
class WeightedTargetsGolden : public ::testing::Test {};
TYPED_TEST_SUITE(WeightedTargetsGolden, Precisions);

/// Ragged targets in the making.
template <class T>
struct Ragged {
  std::vector<std::uint64_t> begin = {0};
  std::vector<std::uint32_t> ids;
  std::vector<T> weights;
  void end_row() { begin.push_back(ids.size()); }
  WeightedTargets<T> view() const { return {begin, ids, weights, {}}; }
};

Proposal proposal_of(const Json& parameters) {
  return {parameters.at("proposal_exponent"), parameters.at("capture_temperature")};
}
Normalisation normalisation_of(const Json& parameters) {
  return parameters.at("normalise_weights") == "self" ? Normalisation::self : Normalisation::none;
}

template <class T>
void add_draws(const Draws<T>& draws, std::span<const T> logits, const Json& parameters,
               Ragged<T>& targets) {
  const double temperature = parameters.at("temperature");
  std::vector<T> full(1), weights(draws.ids.size()), log_probability(draws.ids.size());
  full_log_sum_exp<T>(logits, std::vector<double>{temperature}, full);
  importance_weights<T>(draws.counts, draws.logits, draws.log_proposal, proposal_of(parameters),
                        temperature, static_cast<double>(full[0]), normalisation_of(parameters),
                        weights, log_probability);
  targets.ids.insert(targets.ids.end(), draws.ids.begin(), draws.ids.end());
  targets.weights.insert(targets.weights.end(), weights.begin(), weights.end());
  targets.end_row();
}

TYPED_TEST(WeightedTargetsGolden, Sampled) {
  using T = TypeParam;
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "sampled")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json &parameters = each.at("parameters"), &expected = each.at("expected");
    const std::uint64_t n = parameters.at("N");
    const auto teacher = flat<T>(each.at("inputs").at("teacher_logits"));
    const auto student = flat<T>(each.at("inputs").at("student_logits"));
    SoftOptions options;
    options.scale = scale_of(parameters.at("soft_scale"));
    options.temperature = parameters.at("temperature");
    double size = factor_of(options.scale, options.temperature);
    std::vector<double> losses;
    std::vector<T> grad(student.size()), log_proposal, weights;
    for (std::uint64_t row = 0; row < student.size() / n; ++row) {
      const auto logits = std::span<const T>(teacher).subspan(row * n, n);
      const auto uniforms = flat<double>(each.at("inputs").at("uniforms")[row]);
      const Draws<T> draws = draw_classes<T>(logits, proposal_of(parameters), uniforms);
      EXPECT_EQ(draws.ids, flat<std::uint32_t>(expected.at("ids")[row]));
      EXPECT_EQ(draws.counts, flat<std::uint32_t>(expected.at("counts")[row]));
      log_proposal.insert(log_proposal.end(), draws.log_proposal.begin(), draws.log_proposal.end());
      Ragged<T> targets;
      add_draws<T>(draws, logits, parameters, targets);
      double mass = 0;
      for (const T w : targets.weights) mass += static_cast<double>(w);
      size = std::max(size, mass);
      weights.insert(weights.end(), targets.weights.begin(), targets.weights.end());
      losses.push_back(weighted_loss_and_gradient<T>(
                           1, n, std::span<const T>(student).subspan(row * n, n), nullptr, 0,
                           targets.view(), options, 1, std::span(grad).subspan(row * n, n))
                           .soft);
    }
    expect_close<T>(log_proposal, flat<double>(expected.at("log_proposal")), Quantity::loss, size,
                    "log_proposal");
    expect_close<T>(weights, flat<double>(expected.at("weights")), Quantity::loss, size, "weights");
    expect_close<T>(losses, flat<double>(expected.at("row_loss")), Quantity::loss, size,
                    "row_loss");
    expect_close<T>(grad, flat<double>(expected.at("grad")), Quantity::gradient, size, "grad");
  }
}

// Every sequence of draws with its probability: uniforms in the middle of each class's stretch.
TYPED_TEST(WeightedTargetsGolden, SampledExpectation) {
  using T = TypeParam;
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "sampled_expectation")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json &parameters = each.at("parameters"), &expected = each.at("expected");
    const std::uint64_t n = parameters.at("N"), rounds = parameters.at("rounds");
    if (n == 0) FAIL() << "a case without classes";
    const auto teacher = flat<T>(each.at("inputs").at("teacher_logits"));
    const auto student = flat<T>(each.at("inputs").at("student_logits"));
    const Proposal proposal = proposal_of(parameters);
    const double slope = proposal.exponent / proposal.temperature;
    std::vector<double> pi(n);
    double total = 0;
    for (std::uint64_t i = 0; i < n; ++i)
      total += pi[i] = std::exp(slope * static_cast<double>(teacher[i]));
    for (double& p : pi) p /= total;
    SoftOptions options;
    options.scale = scale_of(parameters.at("soft_scale"));
    options.temperature = parameters.at("temperature");
    std::vector<double> target(n), gradient(n), loss(1);
    std::vector<T> grad(n);
    const auto sequences = static_cast<std::uint64_t>(std::llround(std::pow(n, rounds)));
    for (std::uint64_t sequence = 0; sequence < sequences; ++sequence) {
      double probability = 1;
      std::vector<double> uniforms;
      for (std::uint64_t round = 0, rest = sequence; round < rounds; ++round, rest /= n) {
        const std::uint64_t id = rest % n;
        double before = 0;
        for (std::uint64_t i = 0; i < id; ++i) before += pi[i];
        uniforms.push_back(before + pi[id] / 2);
        probability *= pi[id];
      }
      Ragged<T> targets;
      add_draws<T>(draw_classes<T>(teacher, proposal, uniforms), teacher, parameters, targets);
      loss[0] += probability * weighted_loss_and_gradient<T>(1, n, student, nullptr, 0,
                                                             targets.view(), options, 1, grad)
                                   .soft;
      for (std::size_t i = 0; i < targets.ids.size(); ++i)
        target[targets.ids[i]] += probability * static_cast<double>(targets.weights[i]);
      for (std::uint64_t i = 0; i < n; ++i)
        gradient[i] += probability * static_cast<double>(grad[i]);
    }
    const double size = factor_of(options.scale, options.temperature);
    const auto close = [&](const std::vector<double>& actual, const char* name, Quantity quantity) {
      const Json& value = expected.at(name);
      expect_close<T>(actual, flat<double>(value.is_array() ? value : Json::array({value})),
                      quantity, size, name);
    };
    close(target, "mean_target", Quantity::gradient);
    close(gradient, "mean_grad", Quantity::gradient);
    close(loss, "mean_loss", Quantity::loss);
    if (normalisation_of(parameters) == Normalisation::self) continue;
    close(target, "full_target", Quantity::gradient);
    close(gradient, "full_grad", Quantity::gradient);
    close(loss, "full_loss", Quantity::loss);
  }
}

template <class T>
void add_labels(const Json& ids, const Json& probabilities, UnlabelledWeights weighting,
                Ragged<T>& targets) {
  const auto p = flat<T>(probabilities);
  std::vector<T> weights(p.size());
  unlabelled_weights<T>(static_cast<std::uint32_t>(p.size()), p, weighting, weights);
  append(ids, targets.ids);
  targets.weights.insert(targets.weights.end(), weights.begin(), weights.end());
  targets.end_row();
}

TYPED_TEST(WeightedTargetsGolden, Unlabelled) {
  using T = TypeParam;
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "unlabelled")) {
    const Json& inputs = each.at("inputs");
    const std::uint64_t n = each.at("parameters").at("N");
    const auto student = flat<T>(inputs.at("student_logits"));
    ASSERT_EQ(each.at("expected").size(), 3u);
    for (const auto& [weighting, expected] : each.at("expected").items()) {
      SCOPED_TRACE(each.at("name").get<std::string>() + ", " + weighting);
      std::vector<double> losses;
      std::vector<T> grad(student.size());
      for (std::uint64_t row = 0; row < student.size() / n; ++row) {
        Ragged<T> targets;
        add_labels(inputs.at("toph_ids")[row], inputs.at("toph_probs")[row],
                   weighting_of(weighting), targets);
        losses.push_back(
            unlabelled_loss_and_gradient<T>(1, n, std::span<const T>(student).subspan(row * n, n),
                                            targets.view(), 1, std::span(grad).subspan(row * n, n))
                .unlabelled);
      }
      expect_close<T>(losses, flat<double>(expected.at("row_loss")), Quantity::loss, 1, "row_loss");
      expect_close<T>(grad, flat<double>(expected.at("grad")), Quantity::gradient, 1, "grad");
    }
  }
}

/// The rows of one set of a case of kind total: labelled ones or the others.
template <class T>
struct Rows {
  std::vector<T> logits, stored, tail;
  std::vector<std::uint32_t> ids;
  std::vector<double> grad;  // expected
  Gold gold;
  Ragged<T> weighted;
  std::uint64_t count = 0;
  void add(const Json& student, const Json& expected_grad) {
    append(student, logits);
    append(expected_grad, grad);
    ++count;
  }
};

TYPED_TEST(WeightedTargetsGolden, Total) {
  using T = TypeParam;
  RETORT_LOAD_GOLDEN(file, kFile);
  for (const Json& each : cases_of(file, "total")) {
    SCOPED_TRACE(each.at("name").get<std::string>());
    const Json &parameters = each.at("parameters"), &inputs = each.at("inputs");
    const Json& expected = each.at("expected");
    const bool sampled = parameters.at("tail_mode") == "sampled";
    Rows<T> known, unknown;
    for (std::size_t row = 0; row < inputs.at("is_labelled").size(); ++row) {
      const bool labelled = inputs.at("is_labelled")[row];
      (labelled ? known : unknown).add(inputs.at("student_logits")[row], expected.at("grad")[row]);
      if (!labelled) {
        add_labels(inputs.at("toph_ids")[row], inputs.at("toph_probs")[row],
                   weighting_of(parameters.at("unlabelled_weighting")), unknown.weighted);
        continue;
      }
      known.gold.add(inputs.at("gold_labels")[row]);
      if (sampled) {
        append(inputs.at("sampled_ids")[row], known.weighted.ids);
        append(inputs.at("sampled_weights")[row], known.weighted.weights);
        known.weighted.end_row();
      } else {
        append(inputs.at("topk_ids")[row], known.ids);
        append(inputs.at("topk_logits")[row], known.stored);
        known.tail.push_back(static_cast<T>(number(inputs.at("tail_lse")[row])));
      }
    }
    EXPECT_EQ(known.count, expected.at("labelled_rows").get<std::uint64_t>());
    EXPECT_EQ(unknown.count, expected.at("unlabelled_rows").get<std::uint64_t>());
    SoftOptions options;
    if (!sampled) options.tail = mode_of(parameters.at("tail_mode"));
    options.scale = scale_of(parameters.at("soft_scale"));
    options.temperature = parameters.at("temperature");
    const double size = factor_of(options.scale, options.temperature);
    const double alpha = parameters.at("alpha"), beta = parameters.at("beta");
    const double of_known = divisor_of(parameters, known.count),
                 of_unknown = divisor_of(parameters, unknown.count);
    const std::uint64_t n = parameters.at("N");
    LossSums sums;
    std::vector<T> grad(known.logits.size());
    if (known.count > 0) {
      const HardTargets<T> hard{known.gold.begin, known.gold.labels};
      const T hard_weight = static_cast<T>(alpha / of_known);
      const T soft_weight = static_cast<T>((1 - alpha) / of_known);
      const SparseTargets<T> soft{parameters.at("K").get<std::uint32_t>(), known.ids, known.stored,
                                  known.tail};
      sums = sampled
                 ? weighted_loss_and_gradient<T>(known.count, n, known.logits, &hard, hard_weight,
                                                 known.weighted.view(), options, soft_weight, grad)
                 : loss_and_gradient<T>(known.count, n, known.logits, &hard, hard_weight, &soft,
                                        options, soft_weight, grad);
    }
    expect_close<T>(grad, known.grad, Quantity::gradient, size, "grad of labelled rows");
    std::vector<T> other(unknown.logits.size());
    sums.unlabelled =
        unlabelled_loss_and_gradient<T>(unknown.count, n, unknown.logits, unknown.weighted.view(),
                                        static_cast<T>(beta / of_unknown), other)
            .unlabelled;
    expect_close<T>(other, unknown.grad, Quantity::gradient, size, "grad of unlabelled rows");
    expect_total<T>(parameters, expected, sums.hard / of_known, sums.soft / of_known,
                    sums.unlabelled / of_unknown, size);
  }
}

}  // namespace
}  // namespace retort::nn
