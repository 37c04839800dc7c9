#include "stages/training_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace retort::stages {
namespace {

using testing::HasSubstr;

std::string refusal(const TrainingOptions& options, const nn::LogitForm& logits = {}) {
  try {
    options.validate(logits);
  } catch (const core::UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(TrainingOptions, MicroShardsFollowTheBatchUnlessGiven) {
  TrainingOptions options;
  for (const auto& [batch, shards] : std::vector<std::pair<std::uint64_t, std::uint32_t>>{
           {1, 1}, {31, 1}, {64, 2}, {250, 4}, {256, 8}, {4096, 128}}) {
    options.batch = batch;
    EXPECT_EQ(options.shards(), shards) << batch;
  }
  options.micro_shards = 16;
  options.batch = 64;
  EXPECT_EQ(options.shards(), 16U);
  EXPECT_EQ(options.fill(), 4U);
}

TEST(TrainingOptions, ContradictionsAreRefusedWithWhatToDo) {
  TrainingOptions options;
  EXPECT_EQ(refusal(options), "accepted");
  options.micro_shards = 6;
  EXPECT_THAT(refusal(options), HasSubstr("power of two, such as 4 or 8"));
  options.micro_shards = 512;
  EXPECT_THAT(refusal(options), HasSubstr("more than the 256 samples"));
  options = {};
  options.epochs = 0;
  EXPECT_THAT(refusal(options), HasSubstr("--epochs"));
  options = {};
  options.patience = 3;
  EXPECT_THAT(refusal(options), HasSubstr("--validation"));
  options = {};
  options.pixel_deviation = {0};
  EXPECT_THAT(refusal(options), HasSubstr("--pixel-deviation"));
  options = {};
  options.keep = 1;
  EXPECT_THAT(refusal(options), HasSubstr("2 generations"));
  options = {};
  options.keep_best = true;
  EXPECT_THAT(refusal(options), HasSubstr("--keep-best needs --validation"));
}

TEST(TrainingOptions, MarginsAreOnAngles) {
  TrainingOptions options;
  const nn::LogitForm cosine{.kind = nn::LogitKind::cosine};
  options.margin.angle = 0.5;
  EXPECT_THAT(refusal(options), HasSubstr("the model needs --logit-form cosine"));
  EXPECT_EQ(refusal(options, cosine), "accepted");
  options.margin.angle = 2;
  EXPECT_THAT(refusal(options, cosine), HasSubstr("--margin-angle 2: must be in [0, pi/2]"));
}

TEST(TrainingOptions, CheckpointIntervalsDoNotChangeTheRecipe) {
  TrainingOptions a, b;
  core::OptionTable table_a, table_b;
  a.declare(table_a);
  b.declare(table_b);
  table_b.set("checkpoint-every", "7");
  table_b.set("checkpoint-write", "at-once");
  table_b.set("keep-best", "true");
  table_b.set("loader-threads", "3");
  EXPECT_EQ(table_a.recipe(), table_b.recipe());
  table_b.set("batch", "128");
  EXPECT_NE(table_a.recipe(), table_b.recipe());
}

}  // namespace
}  // namespace retort::stages
