#include <map>
#include <thread>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/random.h"
#include "nn/backward.h"
#include "nn/dropout.h"
#include "nn/model.h"

namespace retort::nn {
namespace {

using ::testing::HasSubstr;
using Options = std::vector<std::pair<std::string, std::string>>;

constexpr std::uint64_t kClasses = 7;

struct Built {
  std::unique_ptr<ModelFactory> factory;
  core::OptionTable table;
  std::unique_ptr<Model> model;
};

Built build(const std::string& name, const Options& options,
            const ModelShape& shape = {{}, kClasses, InputKind::text}) {
  Built built;
  built.factory = make_model_factory(name);
  built.factory->declare(built.table);
  for (const auto& [key, value] : options) built.table.set(key, value);
  built.model = built.factory->build(shape);
  return built;
}

using Texts = std::vector<std::vector<std::int64_t>>;

Input input_of(const Texts& texts) {
  std::vector<std::int64_t> ids, begin = {0};
  for (const auto& text : texts) {
    ids.insert(ids.end(), text.begin(), text.end());
    begin.push_back(static_cast<std::int64_t>(ids.size()));
  }
  return {.ids = at::tensor(ids, at::kLong), .begin = at::tensor(begin, at::kLong)};
}

// Empty, one unit, all the same, shorter and longer than every filter, empty at the end.
const Texts kTexts = {{},  {5}, {3, 3, 3, 3, 3, 3}, {1, 2}, {9, 0, 4, 4, 7, 1, 9, 8, 2, 6, 5},
                      {6}, {}};

Texts random_texts(std::size_t count, std::int64_t buckets, std::uint64_t seed) {
  core::RandomStream stream(seed, core::RandomUse::test, {});
  Texts texts(count);
  for (auto& text : texts) {
    text.resize(stream.below(20));
    for (auto& id : text)
      id = static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(buckets)));
  }
  return texts;
}

struct Step {
  at::Tensor logits;
  std::vector<at::Tensor> gradients;
};

constexpr std::uint64_t kSeed = 3, kStep = 5;

// One training pass with the loss 0.5 * sum logits^2.
Step run_step(const Model& model, const at::Tensor& flat, const Texts& texts) {
  Step step;
  const auto parameters = views(model.parameters(), flat);
  std::vector<std::uint64_t> samples(texts.size());
  for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = 100 + i;
  BatchStatistics statistics;
  Pass pass;
  pass.training = true;
  pass.parameters = parameters;
  pass.statistics = &statistics;
  pass.seed = kSeed;
  pass.step = kStep;
  pass.samples = samples;
  step.gradients.resize(parameters.size());
  forward_backward(
      model, input_of(texts), pass,
      [&](const at::Tensor& logits, at::Tensor& grad) {
        step.logits = logits.clone();
        grad.copy_(logits);
      },
      [&](int index, const at::Tensor& gradient) {
        if (index == 0) {
          EXPECT_TRUE(gradient.is_sparse());
        }
        step.gradients[static_cast<std::size_t>(index)] =
            gradient.is_sparse() ? gradient.to_dense() : gradient;
      });
  return step;
}

at::Tensor evaluate(const Model& model, const at::Tensor& flat, const Texts& texts) {
  const at::AutoGradMode no_graph(false);
  const auto parameters = views(model.parameters(), flat);
  Pass pass;
  pass.parameters = parameters;
  return model.forward(input_of(texts), pass);
}

at::Tensor initialised(const Model& model) {
  at::Tensor flat = make_flat(model.parameters());
  initialise(model.parameters(), 11, flat);
  return flat;
}

// The architectures written a second time with torch's own layers, in fp64, text by text.
class Reference {
 public:
  Reference(const Model& model, const at::Tensor& flat, std::size_t texts) {
    const auto parts = views(model.parameters(), flat);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      leaves.push_back(parts[i].to(at::kDouble).detach().clone().requires_grad_(true));
      by_name_[model.parameters().specs()[i].name] = leaves.back();
    }
    for (std::size_t i = 0; i < texts; ++i) samples_.push_back(100 + i);
  }
  at::Tensor bag(const Input& input, double rate) {
    at::Tensor x = std::get<0>(at::embedding_bag(by_name_.at("embedding.weight"), input.ids,
                                                 input.begin.narrow(0, 0, input.rows()),
                                                 /*scale_grad_by_freq=*/false, /*mode=*/1));
    x = dropped(x, rate, 0);
    if (by_name_.count("hidden.weight") != 0) x = dropped(at::relu(linear("hidden", x)), rate, 1);
    return linear("fc", x);
  }
  at::Tensor textcnn(const Texts& texts, const std::vector<std::int64_t>& widths, double rate) {
    std::vector<at::Tensor> rows;
    for (const auto& text : texts) {
      std::vector<at::Tensor> best;
      for (const std::int64_t width : widths) {
        const std::string name = "conv" + std::to_string(width);
        const at::Tensor weight = by_name_.at(name + ".weight").squeeze(1).transpose(1, 2);
        // Zero vectors on both sides, enough for a window that lies beside the text.
        const at::Tensor zeros = at::zeros({width, weight.size(1)}, at::kDouble);
        const at::Tensor units =
            at::embedding(by_name_.at("embedding.weight"), at::tensor(text, at::kLong));
        const at::Tensor x = at::cat({zeros, units, zeros}).t().unsqueeze(0);
        best.push_back(
            at::relu(at::conv1d(x, weight, by_name_.at(name + ".bias"))).amax(2).squeeze(0));
      }
      rows.push_back(at::cat(best));
    }
    return linear("fc", dropped(at::stack(rows), rate, 0));
  }
  std::vector<at::Tensor> leaves;

 private:
  at::Tensor linear(const std::string& name, const at::Tensor& x) {
    return at::linear(x, by_name_.at(name + ".weight"), by_name_.at(name + ".bias"));
  }
  // With the mask that the model's pass draws.
  at::Tensor dropped(const at::Tensor& x, double rate, std::uint64_t layer) {
    const at::Tensor ones = at::ones(x.sizes(), at::kFloat);
    return x * dropout(ones, rate, {kSeed, kStep, layer, samples_}).to(at::kDouble);
  }
  std::map<std::string, at::Tensor> by_name_;
  std::vector<std::uint64_t> samples_;
};

struct Case {
  std::string name;
  Options options;
  double dropout = 0;
  std::vector<std::int64_t> widths = {};
};

const std::vector<Case> kCases = {
    {"bag", {{"buckets", "12"}, {"dim", "5"}}},
    {"bag", {{"buckets", "12"}, {"dim", "16"}, {"hidden", "9"}, {"dropout", "0.3"}}, 0.3},
    {"textcnn",
     {{"buckets", "12"}, {"dim", "6"}, {"filters", "10"}, {"dropout", "0"}},
     0,
     {3, 4, 5}},
    {"textcnn",
     {{"buckets", "12"}, {"dim", "8"}, {"filters", "5"}, {"widths", "1,2,7"}, {"dropout", "0.5"}},
     0.5,
     {1, 2, 7}}};

TEST(TextModels, ForwardAndBackwardMatchTorchInFp64) {
  at::set_num_threads(1);
  for (const Case& each : kCases)
    for (const Texts& texts : {kTexts, random_texts(33, 12, 2), Texts{{}}, Texts{{11}}}) {
      SCOPED_TRACE(each.name + " with " + std::to_string(texts.size()) + " texts");
      const Built built = build(each.name, each.options);
      const Model& model = *built.model;
      const at::Tensor flat = initialised(model);
      const Step step = run_step(model, flat, texts);
      Reference reference(model, flat, texts.size());
      const at::Tensor logits = each.name == "bag"
                                    ? reference.bag(input_of(texts), each.dropout)
                                    : reference.textcnn(texts, each.widths, each.dropout);
      (0.5 * logits.square().sum()).backward();
      ASSERT_EQ(step.logits.sizes(), logits.sizes());
      const double scale = logits.abs().max().item<double>();
      EXPECT_LT((logits - step.logits.to(at::kDouble)).abs().max().item<double>(), 1e-6 * scale);
      ASSERT_EQ(step.gradients.size(), reference.leaves.size());
      for (std::size_t i = 0; i < step.gradients.size(); ++i) {
        const at::Tensor expected = reference.leaves[i].grad();
        ASSERT_EQ(step.gradients[i].sizes(), expected.sizes());
        EXPECT_LE((expected - step.gradients[i].to(at::kDouble)).abs().max().item<double>(),
                  1e-5 * expected.abs().max().item<double>())
            << model.parameters().specs()[i].name;
      }
    }
}

TEST(TextModels, AnEmptyTextGetsItsOwnAnswer) {
  for (const char* name : {"bag", "textcnn"}) {
    const Built built = build(name, {{"buckets", "12"}, {"dim", "8"}});
    const at::Tensor flat = initialised(*built.model);
    const auto parts = views(built.model->parameters(), flat);
    const at::Tensor logits = evaluate(*built.model, flat, {{}, {1, 2, 3}, {}});
    EXPECT_TRUE(at::equal(logits[0], logits[2]));
    EXPECT_FALSE(at::equal(logits[0], logits[1]));
    EXPECT_TRUE(at::isfinite(logits).all().item<bool>());
    if (std::string(name) == "bag") {
      EXPECT_TRUE(at::equal(logits[0], parts.back()));
    }
  }
}

// A filter that only rewards windows of negative values must not gain from what surrounds a text.
TEST(TextModels, AnswersDoNotDependOnOtherTextsOfTheBatch) {
  at::set_num_threads(1);
  for (const Case& each : kCases) {
    const Built built = build(each.name, each.options);
    const at::Tensor flat = initialised(*built.model);
    Texts together = kTexts;
    const Texts more = random_texts(30, 12, 8);
    together.insert(together.end(), more.begin(), more.end());
    const at::Tensor all = evaluate(*built.model, flat, together);
    for (std::size_t i = 0; i < together.size(); ++i) {
      const at::Tensor alone = evaluate(*built.model, flat, {together[i]});
      EXPECT_TRUE(at::allclose(alone[0], all[static_cast<std::int64_t>(i)], 1e-5, 1e-6)) << i;
    }
  }
}

TEST(TextModels, ThreadsDoNotChangeBits) {
  at::set_num_threads(1);
  for (const Options& options :
       {Options{{"buckets", "500"}}, Options{{"buckets", "500"}, {"dropout", "0.2"}}})
    for (const char* name : {"bag", "textcnn"}) {
      const Built built = build(name, options);
      const at::Tensor flat = initialised(*built.model);
      std::vector<Texts> batches;
      for (std::uint64_t i = 0; i < 6; ++i) batches.push_back(random_texts(16, 500, i));
      std::vector<Step> alone, together(batches.size());
      for (const Texts& batch : batches) alone.push_back(run_step(*built.model, flat, batch));
      std::vector<std::thread> threads;
      for (std::size_t worker = 0; worker < 2; ++worker)
        threads.emplace_back([&, worker] {
          at::set_num_threads(1);
          for (std::size_t i = worker; i < batches.size(); i += 2)
            together[i] = run_step(*built.model, flat, batches[i]);
        });
      for (std::thread& thread : threads) thread.join();
      for (std::size_t i = 0; i < batches.size(); ++i) {
        EXPECT_TRUE(at::equal(alone[i].logits, together[i].logits));
        for (std::size_t k = 0; k < alone[i].gradients.size(); ++k)
          EXPECT_TRUE(at::equal(alone[i].gradients[k], together[i].gradients[k]));
      }
    }
}

TEST(TextModels, WhatIsNotFiniteShows) {
  for (const char* name : {"bag", "textcnn"}) {
    const Built built = build(name, {{"buckets", "12"}, {"dim", "8"}});
    const at::Tensor flat = initialised(*built.model);
    views(built.model->parameters(), flat)[0][3].fill_(std::numeric_limits<float>::quiet_NaN());
    const at::Tensor logits = evaluate(*built.model, flat, {{1, 3, 2, 5, 6, 7, 8, 9}, {1, 2}});
    EXPECT_TRUE(at::isnan(logits[0]).all().item<bool>());
    EXPECT_TRUE(at::isfinite(logits[1]).all().item<bool>());
  }
}

TEST(TextModels, RulesAreThoseOfTheOptions) {
  const Built bag = build("bag", {{"unit", "word"},
                                  {"buckets", "100"},
                                  {"ngrams", "3"},
                                  {"min-chars", "2"},
                                  {"max-chars", "4"},
                                  {"limit", "50"},
                                  {"lower-case", "ascii"}});
  EXPECT_EQ(bag.factory->text_rule(), (io::TextRule{.unit = io::TextUnit::word,
                                                    .buckets = 100,
                                                    .unit_ngrams = 3,
                                                    .min_chars = 2,
                                                    .max_chars = 4,
                                                    .limit = 50,
                                                    .letters = io::TextCase::ascii_lower}));
  const Built cnn = build("textcnn", {{"unit", "character"}, {"buckets", "9"}, {"limit", "0"}});
  EXPECT_EQ(cnn.factory->text_rule(),
            (io::TextRule{.unit = io::TextUnit::character, .buckets = 9}));
  // N-grams within words belong to words.
  EXPECT_EQ(
      build("bag", {{"unit", "character"}, {"buckets", "9"}, {"ngrams", "4"}}).factory->text_rule(),
      (io::TextRule{.unit = io::TextUnit::character, .buckets = 9, .unit_ngrams = 4}));
  // Not offered: a position of a convolution is one unit.
  EXPECT_THROW(build("textcnn", {{"ngrams", "2"}}), core::UsageError);
}

TEST(TextModels, ParameterCounts) {
  // 65536 * 64 + 64 * 150 + 150; Kim's network: 32768 * 128 + 100 * 12 * 128 + 3 * 100 + 300 * 150
  // + 150.
  const ModelShape intents{{}, 150, InputKind::text};
  EXPECT_EQ(build("bag", {}, intents).model->parameters().count(), 4204054u);
  const Built cnn = build("textcnn", {}, intents);
  EXPECT_EQ(cnn.model->parameters().count(), 4393354u);
  std::vector<std::string> names;
  for (const auto& spec : cnn.model->parameters().specs()) names.push_back(spec.name);
  EXPECT_THAT(names, ::testing::ElementsAre("embedding.weight", "conv3.weight", "conv3.bias",
                                            "conv4.weight", "conv4.bias", "conv5.weight",
                                            "conv5.bias", "fc.weight", "fc.bias"));
}

void expect_usage_error(const std::string& name, const Options& options, const ModelShape& shape,
                        const std::string& part) {
  try {
    build(name, options, shape);
    ADD_FAILURE() << name << " was built: " << part;
  } catch (const core::UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

TEST(TextModels, BadOptionsAndPicturesAreUsageErrors) {
  const ModelShape text{{}, kClasses, InputKind::text}, pictures{{24, 24, 1}, kClasses};
  for (const char* name : {"bag", "textcnn"}) {
    expect_usage_error(name, {}, pictures, "takes text, the data set holds pictures");
    expect_usage_error(name, {}, {{}, 1, InputKind::text}, "at least 2");
    expect_usage_error(name, {{"buckets", "0"}}, text, "0 buckets");
    expect_usage_error(name, {{"buckets", "4294967297"}}, text, "buckets");
    expect_usage_error(name, {{"dim", "0"}}, text, "--dim 0");
    expect_usage_error(name, {{"dropout", "1"}}, text, "--dropout");
  }
  expect_usage_error("bag", {{"hidden", "-1"}}, text, "--hidden -1");
  expect_usage_error("bag", {{"ngrams", "4294967297"}}, text, "n-grams");
  expect_usage_error("bag", {{"min-chars", "6"}}, text, "n-grams of 6 to 5 characters");
  expect_usage_error("textcnn", {{"widths", "3,3"}}, text, "ascend");
  expect_usage_error("textcnn", {{"widths", "0"}}, text, "--widths 0");
  expect_usage_error("mlp", {}, text, "takes pictures, the data set holds text");
}

TEST(TextModels, IdsBeyondTheTableAreRefused) {
  for (const char* name : {"bag", "textcnn"}) {
    const Built built = build(name, {{"buckets", "12"}, {"dim", "8"}});
    const at::Tensor flat = initialised(*built.model);
    EXPECT_THROW(evaluate(*built.model, flat, {{12}}), core::InternalError);
    EXPECT_THROW(evaluate(*built.model, flat, {{-1}}), core::InternalError);
  }
}

}  // namespace
}  // namespace retort::nn
