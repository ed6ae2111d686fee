#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "sharding/base/check.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "tests/support/tiny_job.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Snapshot;
using testing::TinyJob;

class CheckpointTest : public testing::RankTest {
 protected:
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
  testing::ScratchFolder scratch_;
  std::filesystem::path folder_ = scratch_.path() / "run" / "checkpoints";
};

TEST_P(CheckpointTest, GoesOnBitForBitWhereItStopped) {
  Snapshot straight, resumed;
  on_each_rank([&](Communicator& comm) {
    TinyJob job(comm);
    job.train_to(4);
    CheckpointWriter(folder_, *files_, comm, {}).write(job.content());
    job.train_to(9);
    job.add_to(straight);
  });
  on_each_rank([&](Communicator& comm) {
    TinyJob job(comm);
    const auto reader = CheckpointReader::open_latest(folder_, comm);
    EXPECT_EQ(reader->manifest().step, 4);
    EXPECT_TRUE(reader->rejected().empty());
    reader->load(job.content());
    job.train_to(9);
    job.add_to(resumed);
  });
  EXPECT_EQ(straight.difference(resumed), "");
}

TEST_P(CheckpointTest, LoadsAtEveryOtherWorld) {
  Snapshot saved;
  on_each_rank([&](Communicator& comm) {
    TinyJob job(comm);
    job.train_to(5);
    CheckpointWriter(folder_, *files_, comm, {}).write(job.content());
    job.add_to(saved);
  });
  for (const int other : {1, 2, 3, 4, 7}) {
    Snapshot loaded;
    on_each_rank_of(other, [&](Communicator& comm) {
      TinyJob job(comm);
      CheckpointReader::open_latest(folder_, comm)->load(job.content());
      job.add_to(loaded);
    });
    EXPECT_EQ(saved.difference(loaded), "") << world() << " to " << other;
  }
}
RONDO_INSTANTIATE_RANK_TEST(CheckpointTest);

}  // namespace
}  // namespace rondo
