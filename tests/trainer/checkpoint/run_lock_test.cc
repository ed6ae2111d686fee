#include "trainer/checkpoint/run_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "sharding/base/check.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

class RunLockTest : public ::testing::Test {
 protected:
  testing::ScratchFolder scratch_;
  std::filesystem::path folder_ = scratch_.path() / "runs" / "one";
};

TEST_F(RunLockTest, ASecondJobIsRefusedWithTheNameOfTheFirst) {
  const RunLock held(folder_);
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  try {
    const RunLock second(folder_);
    FAIL();
  } catch (const StorageError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate);
    EXPECT_THAT(error.what(), HasSubstr(folder_.string()));
    EXPECT_THAT(error.what(), HasSubstr(concat("process ", ::getpid(), " on host ", host)));
  }
  const RunLock other(scratch_.path() / "runs" / "two");
}

TEST_F(RunLockTest, IsFreeAgainAfterwards) {
  {
    const RunLock held(folder_);
  }
  EXPECT_FALSE(std::filesystem::exists(folder_ / "LOCK"));
  const RunLock again(folder_);
}

TEST_F(RunLockTest, WhatAKilledJobLeftIsTakenOver) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const RunLock held(folder_);
    static_cast<void>(::write(ready[1], "x", 1));
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THROW(RunLock{folder_}, StorageError);
  ::kill(child, SIGKILL);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "LOCK"));
  const RunLock taken(folder_);
  EXPECT_THAT(read_file(folder_ / "LOCK"), HasSubstr(concat("process ", ::getpid())));
}

TEST_F(RunLockTest, RubbishInTheFileHindersNobody) {
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ / "LOCK") << std::string(10'000, '\xff') << "\nhost\n\n";
  const RunLock held(folder_);
}

TEST_F(RunLockTest, AnUnwritableOrLinkedPlaceIsAnErrorThatNamesIt) {
  std::ofstream(scratch_.path() / "file") << "x";
  for (const auto& folder : {scratch_.path() / "file" / "run", std::filesystem::path("/proc/none")}) {
    try {
      const RunLock held(folder);
      FAIL();
    } catch (const StorageError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate);
    }
  }
  std::filesystem::create_directories(folder_);
  std::filesystem::create_symlink(scratch_.path() / "file", folder_ / "LOCK");
  EXPECT_THROW(RunLock{folder_}, StorageError);
}

}  // namespace
}  // namespace rondo
