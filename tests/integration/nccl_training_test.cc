// A whole training run on backend `nccl`, over the doubles of CUDA and NCCL with host tensors standing in for device
// memory, against the same run on rank threads, or under mpirun on backend `mpi`: bit for bit (DESIGN 3).
#include <gtest/gtest.h>

#include "tests/integration/training_run.h"
#include "tests/support/fake_row_kernels.h"
#include "tests/support/nccl_ranks.h"

namespace rondo {
namespace {

using testing::deviation;
using testing::fake_row_kernels;
using testing::nccl_runner;
using testing::NcclRanksOptions;
using testing::RankOfDouble;
using testing::run_training;
using testing::test_options;
using testing::tiny_run;
using testing::TrainingRun;
using testing::TrainingRunOptions;

class NcclTrainingTest : public ::testing::TestWithParam<int> {
 protected:
  int world() const { return GetParam(); }

  /// Where are the rows of the run on backend `nccl`? On the hosts they are in memory there.
  enum class Rows { kHost, kDevice };

  void expect_same_run(const TrainingRunOptions& options, bool announce_calls, Rows rows = Rows::kHost) {
    std::vector<TrainingRun> on_hosts(static_cast<size_t>(world()));
    nccl_runner().run_host(world(), test_options(), [&](Communicator& comm) {
      on_hosts[static_cast<size_t>(comm.rank())] = run_training(comm, options);
    });
    NcclRanksOptions ranks;
    ranks.nccl.announce_calls = announce_calls;
    ranks.finalize = true;
    nccl_runner().run(world(), test_options(), ranks, [&](const RankOfDouble& rank) {
      NcclCommunicator& comm = rank.comm;
      const RowLaunches kernels = fake_row_kernels(rank.machine, comm.rank());
      const EmbeddingDevice device{rank.cuda, kernels, at::kCPU};
      TrainingRunOptions here = options;
      if (rows == Rows::kDevice) here.model.embedding.device = &device;
      const TrainingRun got = run_training(comm, here);
      const TrainingRun& expected = on_hosts[static_cast<size_t>(comm.rank())];
      EXPECT_EQ(got.losses.size(), static_cast<size_t>(options.steps));
      EXPECT_EQ(got.losses, expected.losses);
      EXPECT_EQ(got.dense.size(), expected.dense.size());
      const auto worst = deviation(got, expected);
      EXPECT_EQ(worst.value, 0.0) << worst.where;
      EXPECT_GT(comm.buffer_bytes(), 0) << "rows and gradients went over NCCL";
    });
  }
};

TEST_P(NcclTrainingTest, TrainsTheSameModelBitForBit) {
  expect_same_run(tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kAdamW),
                  /*announce_calls=*/false);
}

TEST_P(NcclTrainingTest, AnnouncingEveryCallChangesNothing) {
  expect_same_run(
      tiny_run(at::kDouble, Placement::kReplicated, RowOptimizerKind::kRowWiseAdagrad, DenseOptimizerKind::kSgd),
      /*announce_calls=*/true);
}

TEST_P(NcclTrainingTest, RowsOnDevicesChangeNoBit) {
  for (TrainingRunOptions options :
       {tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kAdamW),
        tiny_run(at::kDouble, Placement::kTableWise, RowOptimizerKind::kAdagrad, DenseOptimizerKind::kSgd),
        tiny_run(at::kFloat, Placement::kReplicated, RowOptimizerKind::kRowWiseAdagrad, DenseOptimizerKind::kSgd)}) {
    options.steps = options.train.steps = 10;  // the text-vector table is filled twice
    expect_same_run(options, /*announce_calls=*/false, Rows::kDevice);
  }
}

RONDO_INSTANTIATE_RANK_TEST(NcclTrainingTest);

}  // namespace
}  // namespace rondo
