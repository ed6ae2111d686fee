// A checkpoint that cannot be written on the way costs itself and nothing else; the last one must succeed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/integration/training_run.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "tests/support/tiny_shop.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/loop/recommender_task.h"
#include "trainer/loop/train_loop.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using testing::FaultPlan;
using testing::FaultyFileSystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::RankTest;
using testing::ScratchFolder;
using testing::TinyShop;
using testing::TrainingRun;

constexpr int64_t kSteps = 12, kEvery = 4;

class FailedSaveTest : public RankTest {
 protected:
  /// Trains into `folder`; what could not be saved is in `failed`, by step.
  static TrainingRun train(Communicator& comm, FileSystem& files, const ScratchFolder& folder,
                           std::vector<int64_t>& failed) {
    const TinyShop shop;
    const RecommenderData data{shop.catalog, shop.events, {}, shop.split, shop.tokens, TinyShop::kVocabulary, ""};
    auto options =
        testing::tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kSgd);
    options.train.steps = kSteps;
    options.train.checkpoint_steps = kEvery;
    Recommender recommender(options.model, data, options.seed, comm);
    RecommenderTask task(options.train, {}, data, recommender, comm);
    TrainLoop loop(options.train, task, comm);
    CheckpointWriter writer(folder.path() / "checkpoints", files, comm, {});
    loop.save_into(&writer, {{"job.textproto", "name: \"tiny\""}}, "digest");
    std::vector<double> losses;
    TrainHooks hooks;
    hooks.on_step = [&](const StepReport& report) { losses.push_back(report.result.loss); };
    hooks.on_failed_save = [&](int64_t step, const std::string& why) {
      failed.push_back(step);
      EXPECT_THAT(why, HasSubstr("No space left on device"));
    };
    try {
      loop.run(hooks);
    } catch (const StorageError&) {
      EXPECT_EQ(losses.size(), static_cast<size_t>(kSteps)) << "it ended before the last save";
      throw;
    }
    TrainingRun run = testing::collect(recommender, &task.optimizer());
    run.losses = std::move(losses);
    return run;
  }

  /// Operations of rank 0 until its first save begins: those of the writer's constructor.
  static int64_t before_the_first_save() {
    const ScratchFolder folder;
    FaultyFileSystem counting;
    const auto comm = make_single_communicator({});
    const CheckpointWriter writer(folder.path() / "checkpoints", counting, *comm, {});
    return static_cast<int64_t>(counting.log().size());
  }
};

TEST_P(FailedSaveTest, OnTheWayCostsOnlyItself) {
  const int64_t first = before_the_first_save();
  const ScratchFolder folder, undisturbed;
  on_each_rank([&](Communicator& comm) {
    FaultyFileSystem good,
        bad(comm.rank() == 0 ? FaultPlan{.kind = FaultPlan::Kind::kFail, .at = first + 1} : FaultPlan{});
    std::vector<int64_t> failed, none;
    const TrainingRun expected = train(comm, good, undisturbed, none);
    const TrainingRun run = train(comm, bad, folder, failed);
    EXPECT_THAT(none, IsEmpty());
    EXPECT_THAT(failed, ElementsAre(kEvery));
    EXPECT_EQ(run.losses, expected.losses);
    const auto worst = deviation(run, expected);
    EXPECT_EQ(worst.value, 0.0) << worst.where;
  });
  EXPECT_THAT(list_checkpoint_names(folder.path() / "checkpoints").names,
              ElementsAre(checkpoint_name(kSteps), checkpoint_name(2 * kEvery)));
  for (const auto& checkpoint : describe_checkpoints(folder.path() / "checkpoints", /*digests=*/true)) {
    EXPECT_EQ(checkpoint.problem, "");
  }
}

TEST_P(FailedSaveTest, AtTheEndEndsTheRun) {
  const int64_t first = before_the_first_save();
  const ScratchFolder folder;
  on_each_rank([&](Communicator& comm) {
    FaultyFileSystem bad(comm.rank() == 0 ? FaultPlan{.kind = FaultPlan::Kind::kStop, .at = first} : FaultPlan{});
    std::vector<int64_t> failed;
    try {
      train(comm, bad, folder, failed);
      ADD_FAILURE() << "nothing thrown";
    } catch (const StorageError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kIoOrDeadline);
    }
    EXPECT_THAT(failed, ElementsAre(kEvery, 2 * kEvery));
  });
  EXPECT_THAT(list_checkpoint_names(folder.path() / "checkpoints").names, IsEmpty());
}

RONDO_INSTANTIATE_RANK_TEST(FailedSaveTest);

}  // namespace
}  // namespace rondo
