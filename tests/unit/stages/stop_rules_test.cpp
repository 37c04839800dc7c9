#include "stages/stop_rules.h"

#include <gtest/gtest.h>

namespace retort::stages {
namespace {

std::vector<EvaluationRecord> losses(std::initializer_list<double> train,
                                     std::initializer_list<double> validation = {}) {
  std::vector<EvaluationRecord> history;
  auto next = validation.begin();
  for (const double loss : train) {
    EvaluationRecord record;
    record.step = history.size() + 1;
    record.train_loss = loss;
    if (next != validation.end()) {
      record.validated = true;
      record.validation_loss = *next++;
    }
    history.push_back(record);
  }
  return history;
}

/// The first evaluation (from 0) after which training ends, as the loop would see it; -1: never.
int stop_index(const TrainingOptions& options, const std::vector<EvaluationRecord>& history) {
  const StopRules rules(options);
  for (std::size_t i = 0; i < history.size(); ++i)
    if (!rules.reason(std::span(history).first(i + 1)).empty()) return static_cast<int>(i);
  return -1;
}

TEST(StopRules, NothingSetNeverStops) { EXPECT_EQ(stop_index({}, losses({1, 1, 1, 1})), -1); }

TEST(StopRules, WindowStopsWhenTheLossSpansLessThanTheChange) {
  TrainingOptions options;
  options.stop_window = 3;
  options.stop_change = 0.1;
  EXPECT_EQ(stop_index(options, losses({1.0, 0.5, 0.45, 0.44, 0.43})), 3);
  EXPECT_EQ(stop_index(options, losses({1.0, 0.8, 0.6, 0.4})), -1);
  // The change is a strict bound.
  options.stop_change = 0.5;
  EXPECT_EQ(stop_index(options, losses({1.0, 0.75, 0.5})), -1);
}

TEST(StopRules, AccuracyStopsWhenReached) {
  TrainingOptions options;
  options.stop_accuracy = 0.9;
  auto history = losses({1, 1, 1}, {1, 1, 1});
  history[1].validation_top1 = 0.9;
  EXPECT_EQ(stop_index(options, history), 1);
  history[1].validation_top1 = 0.8999;
  EXPECT_EQ(stop_index(options, history), -1);
}

TEST(StopRules, PatienceCountsEvaluationsSinceTheBest) {
  TrainingOptions options;
  options.patience = 2;
  EXPECT_EQ(stop_index(options, losses({1, 1, 1, 1, 1}, {0.5, 0.4, 0.41, 0.42, 0.1})), 3);
  EXPECT_EQ(stop_index(options, losses({1, 1, 1, 1}, {0.5, 0.51, 0.4, 0.41})), -1);
}

}  // namespace
}  // namespace retort::stages
