// W ranks and one rank give the same losses, parameters, rows and optimizer state (DESIGN 3), with everything in the
// model: text tower, dropout, id dropout, text vectors of histories, uneven last batches, ranks without examples.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/integration/training_run.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::deviation;
using testing::run_training;
using testing::tiny_run;
using testing::TrainingRun;
using testing::TrainingRunOptions;

TrainingRun run_alone(const TrainingRunOptions& options) {
  TrainingRun run;
  run_ranks(1, testing::test_options(), [&](Communicator& comm) { run = run_training(comm, options); });
  return run;
}

struct Case {
  const char* name;
  TrainingRunOptions options;
  double tolerance;
};

std::vector<Case> cases() {
  using Rows = RowOptimizerKind;
  using Dense = DenseOptimizerKind;
  return {
      {"fp64, row-wise, Adagrad rows, AdamW",
       tiny_run(at::kDouble, Placement::kRowWise, Rows::kRowWiseAdagrad, Dense::kAdamW), 1e-9},
      {"fp64, replicated, Adam rows, AdamW", tiny_run(at::kDouble, Placement::kReplicated, Rows::kAdam, Dense::kAdamW),
       1e-9},
      {"fp64, table-wise, SGD rows, AdamW", tiny_run(at::kDouble, Placement::kTableWise, Rows::kSgd, Dense::kAdamW),
       1e-9},
      {"fp32, row-wise, SGD", tiny_run(at::kFloat, Placement::kRowWise, Rows::kSgd, Dense::kSgd), 1e-5},
      {"fp32, row-wise, Adagrad rows, AdamW",
       tiny_run(at::kFloat, Placement::kRowWise, Rows::kRowWiseAdagrad, Dense::kAdamW), 1e-3},
  };
}

class WorldTest : public testing::RankTest {};

TEST_P(WorldTest, AnyNumberOfRanksTrainsTheSameModel) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    const TrainingRun expected = run_alone(one.options);
    ASSERT_EQ(expected.losses.size(), 50U);
    on_each_rank([&](Communicator& comm) {
      const TrainingRun got = run_training(comm, one.options);
      EXPECT_EQ(got.losses.size(), expected.losses.size());
      for (size_t i = 0; i < got.losses.size(); ++i) {
        EXPECT_NEAR(got.losses[i], expected.losses[i], 1e-5 * std::abs(expected.losses[i])) << "step " << i + 1;
      }
      const auto worst = deviation(got, expected);
      EXPECT_LE(worst.value, one.tolerance) << worst.where;
      EXPECT_FALSE(got.dense.empty());
    });
  }
}

TEST_P(WorldTest, TheBackendDoesNotChangeABit) {
  const auto options = tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kAdamW);
  std::vector<TrainingRun> threads(static_cast<size_t>(world()));
  run_ranks(world(), testing::test_options(),
            [&](Communicator& comm) { threads[static_cast<size_t>(comm.rank())] = run_training(comm, options); });
  on_each_rank([&](Communicator& comm) {
    const TrainingRun got = run_training(comm, options);
    const TrainingRun& expected = threads[static_cast<size_t>(comm.rank())];
    EXPECT_EQ(got.losses, expected.losses);
    const auto worst = deviation(got, expected);
    EXPECT_EQ(worst.value, 0.0) << worst.where;
  });
}

TEST_P(WorldTest, RoutingAheadDoesNotChangeABit) {
  const auto ahead = tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kAdamW);
  auto in_turn = ahead;
  in_turn.train.overlap_exchange = false;
  on_each_rank([&](Communicator& comm) {
    const TrainingRun expected = run_training(comm, in_turn);
    const TrainingRun got = run_training(comm, ahead);
    EXPECT_EQ(got.losses, expected.losses);
    const auto worst = deviation(got, expected);
    EXPECT_EQ(worst.value, 0.0) << worst.where;
    for (const auto& [table, rows] : expected.rows) {
      EXPECT_EQ(got.rows.at(table).size(), rows.size()) << table;
    }
  });
}

RONDO_INSTANTIATE_RANK_TEST(WorldTest);

}  // namespace
}  // namespace rondo
