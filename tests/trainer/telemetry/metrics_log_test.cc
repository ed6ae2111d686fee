#include "trainer/telemetry/metrics_log.h"

#include <gtest/gtest.h>

#include <fstream>

#include "sharding/base/error.h"
#include "trainer/storage/file_system.h"
#include "trainer/telemetry/error_file.h"

namespace rondo {
namespace {

std::filesystem::path fresh(const std::string& name) {
  const auto path = std::filesystem::path(::testing::TempDir()) / name;
  std::filesystem::remove(path);
  return path;
}

TEST(MetricsLogTest, GoesOnAfterTheResumedStep) {
  const auto path = fresh("metrics.jsonl");
  {
    MetricsLog log(path, 0);
    log.write(R"({"event":"train","step":10})");
    log.write(R"({"event":"train","step":20})");
  }
  std::ofstream(path, std::ios::app) << R"({"event":"train","st)";  // the run died here
  MetricsLog(path, 10).write(R"({"event":"train","step":11})");
  EXPECT_EQ(read_file(path), "{\"event\":\"train\",\"step\":10}\n{\"event\":\"train\",\"step\":11}\n");
}

TEST(MetricsLogTest, AnUnwritableFolderIsAnError) {
  try {
    MetricsLog log("no/such/folder/metrics.jsonl", 0);
    FAIL();
  } catch (const StorageError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate);
  }
}

TEST(ErrorFileTest, SaysWhoFailedAndWhyWhateverTheBytes) {
  const auto path = fresh("rank-00001.json");
  write_error_file(path, {1, 7, 74, "no answer \xFF\n from rank 2"});
  const std::string text = read_file(path);
  EXPECT_NE(text.find("\"code\": 74"), std::string::npos) << text;
  EXPECT_NE(text.find("\"rank\": 1"), std::string::npos);
  EXPECT_NE(text.find("from rank 2"), std::string::npos);
  write_error_file("no/such/folder/x.json", {});  // no exception
}

}  // namespace
}  // namespace rondo
