#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "sharding/base/check.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "tests/support/tiny_job.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"

namespace rondo {
namespace {

using testing::FaultPlan;
using testing::FaultyFileSystem;
using ::testing::HasSubstr;
using testing::Snapshot;
using testing::TinyJob;
using Path = std::filesystem::path;

constexpr int kWorld = 2;

void on_ranks(const std::function<void(Communicator&)>& body) { run_ranks(kWorld, testing::test_options(), body); }

/// A run that has a checkpoint at step 3 and is interrupted while it writes another one, at every operation in turn.
class InterruptedCheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const int64_t step : {3, 5}) {
      on_ranks([&](Communicator& comm) {
        TinyJob job(comm);
        job.train_to(step);
        job.add_to(step == 3 ? at_three_ : at_five_);
      });
    }
  }

  void start(FaultyFileSystem& files) {
    on_ranks([&](Communicator& comm) {
      TinyJob job(comm);
      job.train_to(3);
      CheckpointWriter(folder_, files, comm, {.keep = 1}).write(job.content());
    });
  }

  /// True if the checkpoint at `step` was written, on all ranks alike.
  bool write(int64_t step, FaultyFileSystem& files) {
    int written = 0, failed = 0;
    std::mutex mutex;
    on_ranks([&](Communicator& comm) {
      TinyJob job(comm);
      job.train_to(step);
      bool done = true;
      try {
        CheckpointWriter writer(folder_, files, comm, {.keep = 1});
        writer.write(job.content());
      } catch (const StorageError& error) {
        EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
        done = false;
      }
      const std::lock_guard lock(mutex);
      ++(done ? written : failed);
    });
    EXPECT_TRUE(written == 0 || failed == 0) << "ranks do not agree";
    return failed == 0;
  }

  /// What a resume finds; checks it bit for bit.
  int64_t resumed_step() {
    Snapshot loaded;
    int64_t step = -1;
    on_ranks([&](Communicator& comm) {
      TinyJob job(comm);
      const auto reader = CheckpointReader::open_latest(folder_, comm);
      if (!reader) return;
      reader->load(job.content());
      job.add_to(loaded);
      if (comm.rank() == 0) step = reader->manifest().step;
    });
    EXPECT_EQ((step == 3 ? at_three_ : at_five_).difference(loaded), "");
    return step;
  }

  int64_t leftovers() {
    int64_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      const std::string name = entry.path().filename();
      count += name != "LATEST" && !step_of(name) ? 1 : 0;
    }
    return count;
  }

  int64_t operations_of(int64_t step) {
    FaultyFileSystem files;
    start(files);
    const auto before = static_cast<int64_t>(files.log().size());
    write(step, files);
    std::filesystem::remove_all(folder_);
    return static_cast<int64_t>(files.log().size()) - before;
  }

  testing::ScratchFolder scratch_;
  Path folder_ = scratch_.path() / "checkpoints";
  Snapshot at_three_, at_five_;
};

TEST_F(InterruptedCheckpointTest, AFailureAtAnyOperationCostsThatCheckpointOnly) {
  const int64_t operations = operations_of(5);
  ASSERT_GE(operations, 12);
  int failures = 0;
  for (int64_t at = 0; at < operations; ++at) {
    SCOPED_TRACE(concat("operation ", at));
    FaultyFileSystem sound;
    start(sound);
    FaultyFileSystem faulty({.kind = FaultPlan::Kind::kFail, .at = at});
    const bool written = write(5, faulty);
    failures += written ? 0 : 1;
    const bool in_cleanup = faulty.log()[static_cast<size_t>(at)].starts_with("remove");
    EXPECT_TRUE(in_cleanup || leftovers() == 0) << faulty.log().back();
    const int64_t step = resumed_step();
    EXPECT_TRUE(step == 5 || !written) << "was said to be written, and is not there";
    EXPECT_TRUE(write(5, sound));
    EXPECT_EQ(resumed_step(), 5);
    EXPECT_EQ(list_checkpoint_names(folder_).names.size(), 1U);
    EXPECT_EQ(leftovers(), 0);
    std::filesystem::remove_all(folder_);
  }
  EXPECT_GE(failures, 9);  // all but those of the clean-up
}

TEST_F(InterruptedCheckpointTest, AStopAtAnyOperationLeavesAWholeCheckpoint) {
  for (const int64_t step : {5, 3}) {  // another step, and the same once more
    const int64_t operations = operations_of(step);
    for (int64_t at = 0; at < operations; ++at) {
      SCOPED_TRACE(concat("operation ", at, " of step ", step));
      FaultyFileSystem sound;
      start(sound);
      FaultyFileSystem stopped({.kind = FaultPlan::Kind::kStop, .at = at});
      write(step, stopped);
      EXPECT_GE(resumed_step(), 3);
      EXPECT_TRUE(write(5, sound));
      EXPECT_EQ(resumed_step(), 5);
      EXPECT_EQ(leftovers(), 0);
      std::filesystem::remove_all(folder_);
    }
  }
}

TEST_F(InterruptedCheckpointTest, ALossOfPowerAtAnyOperationLeavesAWholeCheckpoint) {
  for (const int64_t step : {5, 3}) {
    const int64_t operations = operations_of(step);
    for (int64_t at = 0; at <= operations; ++at) {
      SCOPED_TRACE(concat("operation ", at, " of step ", step));
      // One file system for both, so that it knows what of the first was made durable.
      FaultyFileSystem counted;
      start(counted);
      const auto before = static_cast<int64_t>(counted.log().size());
      std::filesystem::remove_all(folder_);
      FaultyFileSystem files({.kind = FaultPlan::Kind::kStop, .at = before + at});
      start(files);
      const bool written = write(step, files);
      EXPECT_EQ(written, at >= operations - 3);  // what follows LATEST is clean-up
      files.lose_power(scratch_.path());
      const int64_t found = resumed_step();
      EXPECT_TRUE(found == step || (found == 3 && !written));
      std::filesystem::remove_all(folder_);
    }
  }
}

TEST_F(InterruptedCheckpointTest, AFailureOnOneRankIsAFailureOfAll) {
  FaultyFileSystem sound;
  start(sound);
  on_ranks([&](Communicator& comm) {
    TinyJob job(comm);
    job.train_to(5);
    // Rank 1 syncs one file, and fails in it.
    FaultyFileSystem mine({.kind = comm.rank() == 1 ? FaultPlan::Kind::kFail : FaultPlan::Kind::kNone, .at = 0});
    CheckpointWriter writer(folder_, mine, comm, {});
    try {
      writer.write(job.content());
      ADD_FAILURE();
    } catch (const StorageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("rows-00001.h5"));
    }
  });
  EXPECT_EQ(leftovers(), 0);
  EXPECT_EQ(resumed_step(), 3);
}

TEST_F(InterruptedCheckpointTest, TooLittleSpaceIsSaidBeforeAnythingIsWritten) {
  FaultyFileSystem sound;
  start(sound);
  FaultyFileSystem full({.free_bytes = 1000});
  EXPECT_FALSE(write(5, full));
  EXPECT_EQ(leftovers(), 0);
  EXPECT_EQ(resumed_step(), 3);
}

TEST_F(InterruptedCheckpointTest, AFullDiskAtAnySizeIsNoticed) {
  // A limit on the size of files stands for the full disk: the system refuses the write in the same way, in HDF5 too.
  FaultyFileSystem sound;
  start(sound);
  struct rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  int failures = 0;
  for (rlim_t limit = 0; limit < 30'000; limit += 1500) {
    SCOPED_TRACE(concat("limit ", limit));
    bool written = false;
    on_ranks([&](Communicator& comm) {
      TinyJob job(comm);
      job.train_to(5);
      CheckpointWriter writer(folder_, sound, comm, {});
      comm.barrier({Channel::kControl, "limit"});
      const struct rlimit small = {limit, before.rlim_max};
      setrlimit(RLIMIT_FSIZE, &small);
      comm.barrier({Channel::kControl, "limit"});
      try {
        writer.write(job.content());
        written = true;
      } catch (const StorageError&) {
      }
      comm.barrier({Channel::kControl, "limit"});
      setrlimit(RLIMIT_FSIZE, &before);
    });
    failures += written ? 0 : 1;
    EXPECT_EQ(leftovers(), 0);
    EXPECT_EQ(resumed_step(), written ? 5 : 3);
    std::filesystem::remove_all(folder_);
    start(sound);
  }
  std::signal(SIGXFSZ, ignored);
  EXPECT_GT(failures, 5);
  // A file that is gone but open would keep its blocks: the disk would stay full.
  for (const auto& open : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code ignored_error;
    const Path target = std::filesystem::read_symlink(open.path(), ignored_error);
    EXPECT_EQ(target.string().find("checkpoints"), std::string::npos) << target;
  }
}

}  // namespace
}  // namespace rondo
