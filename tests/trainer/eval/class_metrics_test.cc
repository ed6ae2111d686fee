#include "trainer/eval/class_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "sharding/base/random.h"
#include "trainer/eval/classification_report.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ClassMetrics, TwoClasses) {
  const std::vector<int32_t> labels{0, 0, 1, 1, 1};
  const std::vector<double> probabilities{0.9, 0.1, 0.4, 0.6, 0.3, 0.7, 0.8, 0.2, 0.4, 0.6};
  const ClassMetrics metrics = measure_classes(labels, probabilities, 2);
  EXPECT_THAT(metrics.confusion, ElementsAre(1, 1, 1, 2));
  EXPECT_DOUBLE_EQ(metrics.accuracy, 3.0 / 5);
  EXPECT_DOUBLE_EQ(metrics.balanced_accuracy, (1.0 / 2 + 2.0 / 3) / 2);
  EXPECT_DOUBLE_EQ(metrics.macro_f1, (2.0 * 1 / (2 + 2) + 2.0 * 2 / (3 + 3)) / 2);
  // Pairs (second, first): .7 beats both, .2 beats .1 alone, .6 beats .1 and ties with .6.
  ASSERT_TRUE(metrics.auc);
  EXPECT_DOUBLE_EQ(*metrics.auc, (2 + 1 + 1.5) / 6);
  EXPECT_DOUBLE_EQ(metrics.log_loss,
                   -(std::log(0.9) + std::log(0.4) + std::log(0.7) + std::log(0.2) + std::log(0.6)) / 5);
}

TEST(ClassMetrics, ClassesThatDoNotOccurOrAreNotSaid) {
  const std::vector<int32_t> labels{0, 2, 2, 0};
  const std::vector<double> probabilities{1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, .5, .5, 0};
  const ClassMetrics metrics = measure_classes(labels, probabilities, 4);
  EXPECT_THAT(metrics.confusion, ElementsAre(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0));
  EXPECT_DOUBLE_EQ(metrics.balanced_accuracy, (0.5 + 0.0) / 2);         // of classes 0 and 2
  EXPECT_DOUBLE_EQ(metrics.macro_f1, (2.0 / 3 + 0.0 + 0.0 + 0.0) / 4);  // 1 and 3 are said
  EXPECT_FALSE(metrics.auc);
  EXPECT_NEAR(metrics.log_loss, (0 + 2 * -std::log(1e-15) - std::log(1e-15)) / 4, 1e-12);
}

TEST(ClassMetrics, AreaUnderTheCurveCountsPairs) {
  const CounterRandom random(3, 0, RandomPurpose::kTest);
  std::vector<int32_t> labels;
  std::vector<double> probabilities;
  for (uint64_t i = 0; i < 200; ++i) {
    labels.push_back(static_cast<int32_t>(random.below(2, i, 0)));
    const double score = static_cast<double>(random.below(20, i, 1)) / 20;  // many ties
    probabilities.insert(probabilities.end(), {1 - score, score});
  }
  double won = 0, pairs = 0;
  for (size_t i = 0; i < labels.size(); ++i) {
    for (size_t j = 0; j < labels.size(); ++j) {
      if (labels[i] != 1 || labels[j] != 0) continue;
      const double a = probabilities[2 * i + 1], b = probabilities[2 * j + 1];
      won += a > b ? 1 : a == b ? 0.5 : 0;
      ++pairs;
    }
  }
  EXPECT_NEAR(*measure_classes(labels, probabilities, 2).auc, won / pairs, 1e-12);
  const std::vector<int32_t> all_one(200, 1);
  EXPECT_FALSE(measure_classes(all_one, probabilities, 2).auc);
}

TEST(ClassificationReport, SaysItForPeopleAndPrograms) {
  ClassificationReport report;
  report.step = 7;
  report.held_out = "test";
  report.examples = 2;
  report.label_names = {"bad", "good"};
  report.model = measure_classes(std::vector<int32_t>{0, 1}, std::vector<double>{0.9, 0.1, 0.6, 0.4}, 2);
  report.majority = measure_classes(std::vector<int32_t>{0, 1}, std::vector<double>{1, 0, 1, 0}, 2);
  const auto json = nlohmann::json::parse(to_json(report));
  EXPECT_EQ(json["event"], "eval");
  EXPECT_EQ(json["step"], 7);
  EXPECT_EQ(json["metrics"]["accuracy"], 0.5);
  EXPECT_EQ(json["metrics"]["auc"], 1.0);
  EXPECT_EQ(json["floors"]["majority"]["balanced_accuracy"], 0.5);
  EXPECT_EQ(json["confusion"], nlohmann::json::parse("[[1,0],[1,0]]"));
  EXPECT_THAT(to_table(report), HasSubstr("test: 2 examples, 2 classes, weights of step 7"));
  EXPECT_THAT(to_table(report), HasSubstr("good                              1         0"));
}

}  // namespace
}  // namespace rondo
