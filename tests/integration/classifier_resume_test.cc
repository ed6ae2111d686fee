// A classifier that was stopped goes on bit for bit, and selects and gives up as one that was not.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/integration/classifier_run.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "trainer/checkpoint/checkpoint_folder.h"

namespace rondo {
namespace {

using testing::ClassifierRun;
using testing::ClassifierRunOptions;
using testing::deviation;
using testing::tiny_classifier;

class ClassifierResumeTest : public ::testing::Test {
 protected:
  ClassifierRunOptions options(const std::string& name) const {
    auto options = tiny_classifier(at::kFloat, DenseOptimizerKind::kAdamW);
    options.folder = scratch_.path() / name;
    return options;
  }

  static std::vector<ClassifierRun> on_ranks(int world, const ClassifierRunOptions& options) {
    std::vector<ClassifierRun> runs(static_cast<size_t>(world));
    run_ranks(world, testing::test_options(), [&](Communicator& comm) {
      runs[static_cast<size_t>(comm.rank())] = testing::run_classifier(comm, options);
    });
    return runs;
  }

  testing::ScratchFolder scratch_;
};

TEST_F(ClassifierResumeTest, StopsAndGoesOnBitForBit) {
  const auto straight = on_ranks(2, options("straight"));
  auto stopped = options("stopped");
  stopped.stop_at = 14;  // within the third epoch
  const auto first = on_ranks(2, stopped);
  stopped.stop_at = 0;
  const auto second = on_ranks(2, stopped);
  ASSERT_EQ(first[0].losses.size(), 14U);
  EXPECT_TRUE(first[0].outcome.stopped);
  for (size_t rank = 0; rank < 2; ++rank) {
    ASSERT_EQ(second[rank].losses.size(), 10U);
    for (size_t i = 0; i < 10; ++i) EXPECT_EQ(second[rank].losses[i], straight[rank].losses[14 + i]) << i;
    const auto worst = deviation(second[rank], straight[rank]);
    EXPECT_EQ(worst.value, 0.0) << worst.where;
    EXPECT_EQ(second[rank].answers, straight[rank].answers);
    EXPECT_EQ(second[rank].outcome.best_step, straight[rank].outcome.best_step);
  }
}

/// What validation will say, whatever the weights are.
ClassifierRun with_scores(const ClassifierRunOptions& options, const std::vector<double>& scores) {
  ClassifierRunOptions scripted = options;
  scripted.scores = scores;
  return testing::run_classifier_alone(scripted);
}

TEST_F(ClassifierResumeTest, KeepsTheBestAndGivesUpAfterPatience) {
  auto best = options("best");
  best.train.patience = 2;
  best.train.checkpoint_steps = 5;
  best.train.epochs = 10;
  // By epoch, of 6 steps each.
  const ClassifierRun run = with_scores(best, {0.5, 0.7, 0.7, 0.6, 0.9});
  EXPECT_EQ(run.outcome.best_step, 12);
  EXPECT_EQ(run.outcome.step, 24);
  EXPECT_TRUE(run.outcome.out_of_patience);
  EXPECT_FALSE(run.outcome.stopped);
  // One is kept, and the best one beside it.
  const auto names = list_checkpoint_names(best.folder).names;
  EXPECT_EQ(names, (std::vector<std::string>{checkpoint_name(24), checkpoint_name(12)}));

  // Asked to go on, it has nothing left to try.
  const ClassifierRun again = with_scores(best, {1.0});
  EXPECT_TRUE(again.losses.empty());
  EXPECT_EQ(again.outcome.best_step, 12);
  EXPECT_TRUE(again.outcome.out_of_patience);
}

TEST_F(ClassifierResumeTest, RemembersTheBestOverAStop) {
  auto stopped = options("remembers");
  stopped.train.epochs = 5;
  stopped.stop_at = 20;
  with_scores(stopped, {0.8, 0.1, 0.1});
  stopped.stop_at = 0;
  const ClassifierRun run = with_scores(stopped, {0.2, 0.3});
  EXPECT_EQ(run.outcome.step, 30);
  EXPECT_EQ(run.outcome.best_step, 6);
  EXPECT_TRUE(std::filesystem::exists(stopped.folder / checkpoint_name(6)));
}

}  // namespace
}  // namespace rondo
