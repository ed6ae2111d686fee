#include "trainer/telemetry/metrics_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using testing::ScratchFolder;

class MetricsLogTest : public ::testing::Test {
 protected:
  ScratchFolder folder_;
  std::filesystem::path path_ = folder_.path() / "metrics.jsonl";
};

TEST_F(MetricsLogTest, EachLineIsThereAtOnce) {
  MetricsLog log(path_, 0);
  log.write(R"({"event":"train","step":10})");
  EXPECT_EQ(read_file(path_), "{\"event\":\"train\",\"step\":10}\n");
  log.write(R"({"event":"eval"})");
  EXPECT_EQ(read_file(path_), "{\"event\":\"train\",\"step\":10}\n{\"event\":\"eval\"}\n");
}

TEST_F(MetricsLogTest, GoesOnAfterTheResumedStep) {
  {
    MetricsLog log(path_, 0);
    log.write(R"({"event":"train","step":10})");
    log.write(R"({"event":"eval","step":10})");
    log.write(R"({"event":"note"})");
    log.write(R"({"event":"train","step":20})");
    log.write(R"({"event":"odd","step":"20"})");
  }
  std::ofstream(path_, std::ios::app) << R"({"event":"train","st)";  // the run died here
  MetricsLog(path_, 10).write(R"({"event":"train","step":11})");
  EXPECT_EQ(read_file(path_),
            "{\"event\":\"train\",\"step\":10}\n{\"event\":\"eval\",\"step\":10}\n{\"event\":\"note\"}\n"
            "{\"event\":\"odd\",\"step\":\"20\"}\n{\"event\":\"train\",\"step\":11}\n");
}

TEST_F(MetricsLogTest, AnUnwritableFolderIsAnError) {
  try {
    MetricsLog log(folder_.path() / "absent/metrics.jsonl", 0);
    ADD_FAILURE() << "nothing thrown";
  } catch (const StorageError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate);
    EXPECT_THAT(error.what(), HasSubstr("absent/metrics.jsonl"));
  }
}

TEST_F(MetricsLogTest, AFullDiskIsAnError) {
  MetricsLog log(path_, 0);
  // A limit on the file size stands for the full disk: the system refuses the write in the same way.
  struct rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {16, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  std::string message;
  try {
    log.write(R"({"event":"train","step":10})");
  } catch (const StorageError& error) {
    message = error.what();
    EXPECT_EQ(error.exit_code(), ExitCode::kIoOrDeadline);
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_THAT(message, HasSubstr("cannot write " + path_.string()));
}

TEST_F(MetricsLogTest, ALineBreakWouldForgeALine) {
  MetricsLog log(path_, 0);
  EXPECT_THROW(log.write("{\"a\":\n1}"), InternalError);
}

}  // namespace
}  // namespace rondo
