#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <thread>

#include "sharding/base/check.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "tests/support/tiny_job.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/checkpoint/run_lock.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using testing::Snapshot;
using testing::TinyJob;

constexpr int kRounds = 15;
constexpr int64_t kStepsOfAProcess = 400;  // more than it lives for

/// The process that is killed: goes on from the latest checkpoint and writes one after each step; says so through
/// `progress`.
void train(const std::filesystem::path& run, int world, int progress) {
  const RunLock lock(run);
  run_ranks(world, testing::test_options(), [&](Communicator& comm) {
    const auto files = make_posix_file_system();
    CheckpointWriter writer(run / "checkpoints", *files, comm, {.keep = 2});
    TinyJob job(comm);
    if (const auto reader = CheckpointReader::open_latest(run / "checkpoints", comm)) reader->load(job.content());
    for (int64_t i = 0; i < kStepsOfAProcess; ++i) {
      job.train_to(job.content().step + 1);
      writer.write(job.content());
      const int64_t step = job.content().step;
      if (comm.rank() == 0) RONDO_CHECK_EQ(::write(progress, &step, sizeof(step)), ssize_t{sizeof(step)});
    }
  });
}

/// Kills it after `life`; returns the last step that it said was written, `before` if none.
int64_t run_and_kill(const std::filesystem::path& run, int world, std::chrono::microseconds life, int64_t before) {
  int progress[2];
  RONDO_CHECK_EQ(::pipe(progress), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(progress[0]);
    try {
      train(run, world, progress[1]);
    } catch (const std::exception& error) {
      std::cerr << error.what() << "\n";
      ::_exit(1);
    }
    ::_exit(0);
  }
  ::close(progress[1]);
  std::this_thread::sleep_for(life);
  ::kill(child, SIGKILL);
  int status = 0;
  RONDO_CHECK_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the process ended by itself, status " << status;
  int64_t step = before;
  while (::read(progress[0], &step, sizeof(step)) == static_cast<ssize_t>(sizeof(step))) {
  }
  ::close(progress[0]);
  return step;
}

/// What a resume finds at `world`; bit-equal to a run that was never interrupted.
int64_t check_resume(const std::filesystem::path& run, int world) {
  Snapshot loaded, straight;
  int64_t found = 0;
  run_ranks(world, testing::test_options(), [&](Communicator& comm) {
    TinyJob resumed(comm), job(comm);
    if (const auto reader = CheckpointReader::open_latest(run / "checkpoints", comm)) {
      EXPECT_TRUE(reader->rejected().empty());
      reader->load(resumed.content());
    }
    job.train_to(resumed.content().step);
    resumed.add_to(loaded);
    job.add_to(straight);
    if (comm.rank() == 0) found = job.content().step;
  });
  EXPECT_EQ(straight.difference(loaded), "");
  return found;
}

TEST(CheckpointCrashTest, AKilledRunGoesOnFromWhatItSaidWasWritten) {
  const char* const given = std::getenv("RONDO_CRASH_SEED");
  const uint32_t seed = given == nullptr ? std::random_device{}() : static_cast<uint32_t>(std::stoul(given));
  std::cout << "seed " << seed << ": repeat with RONDO_CRASH_SEED=" << seed << " checkpoint_crash_test" << std::endl;
  std::mt19937 random(seed);
  const testing::ScratchFolder scratch;
  const auto run = scratch.path() / "run";
  int64_t step = 0;
  for (int round = 0; round < kRounds; ++round) {
    const int world = 1 + static_cast<int>(random() % 3);
    const std::chrono::microseconds life(random() % 300'000);
    SCOPED_TRACE(concat("round ", round, ", world ", world, ", killed after ", life.count(), " us"));
    const int64_t written = run_and_kill(run, world, life, step);
    step = check_resume(run, 1 + static_cast<int>(random() % 3));
    // The kill may fall between the commit and its message.
    ASSERT_TRUE(step == written || step == written + 1) << "said " << written << ", found " << step;
  }
  EXPECT_GT(step, 0) << "no process came to write";
}

}  // namespace
}  // namespace rondo
