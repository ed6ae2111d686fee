// 100 steps in one go, and 50 steps, a checkpoint, a new process's worth of objects, and 50 more: the same model.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "tests/integration/training_run.h"
#include "tests/support/rank_test.h"
#include "tests/support/tiny_shop.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/loop/recommender_task.h"
#include "trainer/loop/train_loop.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using testing::deviation;
using testing::TinyShop;
using testing::TrainingRun;
using testing::TrainingRunOptions;

constexpr int64_t kSteps = 100;
constexpr int64_t kStop = 50;

TrainingRunOptions options_of(at::ScalarType dtype) {
  auto options = testing::tiny_run(dtype, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kAdamW);
  options.train.steps = kSteps;
  return options;
}

/// Trains on `comm`, from the checkpoint in `folder` if there is one, until `stop_at` (then it saves) or the end.
TrainingRun train(Communicator& comm, const TrainingRunOptions& options, const std::filesystem::path& folder,
                  int64_t stop_at) {
  const TinyShop shop;
  RecommenderData data{shop.catalog, shop.events, {}, shop.split, shop.tokens, TinyShop::kVocabulary, ""};
  Recommender recommender(options.model, data, options.seed, comm);
  RecommenderTask task(options.train, {}, data, recommender, comm);
  TrainLoop loop(options.train, task, comm);
  const auto files = make_posix_file_system();
  CheckpointWriter writer(folder, *files, comm, {});
  loop.save_into(&writer, {{"job.textproto", "name: \"tiny\""}}, "digest");
  if (const auto reader = CheckpointReader::open_latest(folder, comm)) loop.resume(*reader);
  std::vector<double> losses;
  TrainHooks hooks;
  hooks.on_step = [&](const StepReport& report) { losses.push_back(report.result.loss); };
  hooks.stop_requested = [&] { return loop.step() + 1 == stop_at; };
  loop.run(hooks);
  TrainingRun run = testing::collect(recommender, &task.optimizer());
  run.losses = std::move(losses);
  return run;
}

class ResumeTest : public ::testing::Test {
 protected:
  std::filesystem::path fresh(const std::string& name) {
    const auto folder = std::filesystem::path(::testing::TempDir()) / ("resume_test_" + name);
    std::filesystem::remove_all(folder);
    return folder / "checkpoints";
  }

  static std::vector<TrainingRun> on_ranks(int world, const TrainingRunOptions& options,
                                           const std::filesystem::path& folder, int64_t stop_at) {
    std::vector<TrainingRun> runs(static_cast<size_t>(world));
    run_ranks(world, testing::test_options(), [&](Communicator& comm) {
      runs[static_cast<size_t>(comm.rank())] = train(comm, options, folder, stop_at);
    });
    return runs;
  }
};

TEST_F(ResumeTest, FrozenTextsComeFromTheCheckpoint) {
  auto options = options_of(at::kDouble);
  options.model.frozen_text = true;
  const auto straight = on_ranks(2, options, fresh("straight_frozen"), 0);
  const auto folder = fresh("stopped_frozen");
  on_ranks(2, options, folder, kStop);
  for (const int world : {2, 3}) {
    const auto copy = fresh("frozen_" + std::to_string(world));
    std::filesystem::create_directories(copy.parent_path());
    std::filesystem::copy(folder, copy, std::filesystem::copy_options::recursive);
    const double tolerance = world == 2 ? 0.0 : 1e-9;
    for (const TrainingRun& rank : on_ranks(world, options, copy, 0)) {
      ASSERT_EQ(rank.losses.size(), static_cast<size_t>(kSteps - kStop));
      EXPECT_NEAR(rank.losses.back(), straight[0].losses.back(), tolerance);
      for (const TrainingRun& other : straight) {
        TrainingRun of_both = rank;  // ranks hold other rows at another world
        std::erase_if(of_both.rows, [&](const auto& table) { return !other.rows.contains(table.first); });
        for (auto& [table, rows] : of_both.rows) {
          std::erase_if(rows, [&](const auto& row) { return !other.rows.at(table).contains(row.first); });
        }
        const auto worst = deviation(of_both, other);
        EXPECT_LE(worst.value, tolerance) << worst.where;
      }
    }
  }
}

TEST_F(ResumeTest, StopsAndGoesOnBitForBit) {
  const auto options = options_of(at::kFloat);
  const auto straight = on_ranks(2, options, fresh("straight"), 0);
  const auto folder = fresh("stopped");
  const auto first = on_ranks(2, options, folder, kStop);
  const auto second = on_ranks(2, options, folder, 0);
  for (size_t rank = 0; rank < 2; ++rank) {
    ASSERT_EQ(first[rank].losses.size(), static_cast<size_t>(kStop));
    ASSERT_EQ(second[rank].losses.size(), static_cast<size_t>(kSteps - kStop));
    for (size_t i = 0; i < second[rank].losses.size(); ++i) {
      EXPECT_EQ(second[rank].losses[i], straight[rank].losses[kStop + i]) << "step " << kStop + i + 1;
    }
    const auto worst = deviation(second[rank], straight[rank]);
    EXPECT_EQ(worst.value, 0.0) << worst.where;
  }
}

TEST_F(ResumeTest, GoesOnWithAnotherNumberOfRanks) {
  const auto options = options_of(at::kDouble);
  const auto straight = on_ranks(1, options, fresh("alone"), 0);
  const auto folder = fresh("moved");
  on_ranks(2, options, folder, kStop);
  for (const TrainingRun& rank : on_ranks(3, options, folder, 0)) {
    for (size_t i = 0; i < rank.losses.size(); ++i) {
      const double expected = straight[0].losses[kStop + i];
      EXPECT_NEAR(rank.losses[i], expected, 1e-9 * std::abs(expected));
    }
    const auto worst = deviation(rank, straight[0]);
    EXPECT_LE(worst.value, 1e-9) << worst.where;
  }
}

}  // namespace
}  // namespace rondo
