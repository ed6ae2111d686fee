// W ranks and one rank train the same classifier (DESIGN 3), under either dispatch, with dropout, weights of examples
// and classes, texts that occur twice, uneven last batches and ranks without examples.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/integration/classifier_run.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::ClassifierRun;
using testing::ClassifierRunOptions;
using testing::deviation;
using testing::run_classifier;
using testing::run_classifier_alone;
using testing::tiny_classifier;

struct Case {
  const char* name;
  ClassifierRunOptions options;
  double tolerance;
};

/// Of an epoch.
double mean_loss(const ClassifierRun& run, int64_t first_step) {
  return std::accumulate(run.losses.begin() + first_step, run.losses.begin() + first_step + 6, 0.0) / 6;
}

std::vector<Case> cases() {
  using Dense = DenseOptimizerKind;
  std::vector<Case> all{{"fp64, AdamW", tiny_classifier(at::kDouble, Dense::kAdamW), 1e-9},
                        {"fp32, SGD", tiny_classifier(at::kFloat, Dense::kSgd), 1e-5},
                        {"fp32, AdamW", tiny_classifier(at::kFloat, Dense::kAdamW), 1e-3}};
  for (Case& one : all) one.options.classifier.dispatch = TextDispatch::kLocal;
  return all;
}

class ClassifierWorldTest : public testing::RankTest {};

TEST_P(ClassifierWorldTest, AnyNumberOfRanksTrainsTheSameModelUnderEitherDispatch) {
  for (const Case& one : cases()) {
    const ClassifierRun expected = run_classifier_alone(one.options);
    ASSERT_EQ(expected.losses.size(), 24U);
    EXPECT_LT(mean_loss(expected, 18), mean_loss(expected, 0));
    for (const TextDispatch dispatch : {TextDispatch::kLocal, TextDispatch::kBalanced}) {
      SCOPED_TRACE(concat(one.name, dispatch == TextDispatch::kLocal ? ", local" : ", balanced"));
      ClassifierRunOptions options = one.options;
      options.classifier.dispatch = dispatch;
      on_each_rank([&](Communicator& comm) {
        const ClassifierRun got = run_classifier(comm, options);
        EXPECT_EQ(got.losses.size(), expected.losses.size());
        for (size_t i = 0; i < got.losses.size(); ++i) {
          EXPECT_NEAR(got.losses[i], expected.losses[i], 1e-5 * std::abs(expected.losses[i])) << "step " << i + 1;
        }
        const auto worst = deviation(got, expected);
        EXPECT_LE(worst.value, one.tolerance) << worst.where;
        for (size_t i = 0; i < got.scores.size(); ++i) EXPECT_NEAR(got.scores[i], expected.scores[i], 1e-4);
        for (size_t i = 0; i < got.answers.size(); ++i) EXPECT_NEAR(got.answers[i], expected.answers[i], 1e-3);
      });
    }
  }
}

TEST_P(ClassifierWorldTest, BalancedDispatchGivesRanksAboutAsManyTokens) {
  if (world() > 3) GTEST_SKIP() << "32 texts are too few for more ranks";
  ClassifierRunOptions options = tiny_classifier(at::kFloat, DenseOptimizerKind::kAdamW);
  options.train.global_batch = 32;
  options.train.steps = 20;
  on_each_rank([&](Communicator& comm) {
    const auto mean = [&](TextDispatch dispatch) {
      options.classifier.dispatch = dispatch;
      double sum = 0;
      const auto run = run_classifier(comm, options);
      for (size_t i = 0; i < run.imbalances.size(); i += 2) sum += run.imbalances[i];  // the odd ones have 22 examples
      return 2 * sum / static_cast<double>(run.imbalances.size());
    };
    const double balanced = mean(TextDispatch::kBalanced), local = mean(TextDispatch::kLocal);
    EXPECT_LT(balanced, 0.05);
    if (comm.size() > 1) {
      EXPECT_GT(local, 2 * balanced);
    }
  });
}

RONDO_INSTANTIATE_RANK_TEST(ClassifierWorldTest);

}  // namespace
}  // namespace rondo
