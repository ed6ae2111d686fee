#include "trainer/telemetry/progress_bar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace rondo {
namespace {

using ::testing::HasSubstr;

class ProgressBarTest : public ::testing::Test {
 protected:
  ProgressBar make(const ProgressStyle& style) {
    return ProgressBar(out_, style, [this] { return now_; });
  }

  /// What was written since the last call.
  std::string written() {
    const std::string text = out_.str();
    out_.str("");
    return text;
  }

  std::ostringstream out_;
  double now_ = 1000.0;
};

TEST_F(ProgressBarTest, OffATerminalThereIsALinePerInterval) {
  auto bar = make({.line_seconds = 10.0});
  bar.begin("train", 2000, "steps");
  bar.advance(0);
  now_ += 9.0;
  bar.advance(900);
  EXPECT_EQ(written(), "");
  now_ += 1.0;
  bar.advance(1000);
  EXPECT_EQ(written(), "train: 1,000 steps of 2,000 steps (50 %), 100 steps/s, 10 s left\n");
  now_ += 5.0;
  bar.advance(1500);
  EXPECT_EQ(written(), "");
  now_ += 5.0;
  bar.advance(2000);
  EXPECT_EQ(written(), "train: 2,000 steps of 2,000 steps (100 %), 100 steps/s\n");
  now_ += 60.0;
  bar.end();
  EXPECT_EQ(written(), "train: 2,000 steps in 1 min 20 s, 25 steps/s\n");
}

TEST_F(ProgressBarTest, OnATerminalOneLineIsDrawnAgain) {
  auto bar = make({.terminal = true, .columns = 100});
  bar.begin("ingest", 4'000'000, "bytes");
  now_ += 0.1;
  bar.advance(1000);
  EXPECT_EQ(written(), "");
  now_ += 1.0;
  bar.advance(1'001'000);
  EXPECT_EQ(written(), "\r\033[Kingest [######..................] 1.0 MB of 4.0 MB (25 %), 1.0 MB/s, 3.00 s left");
  bar.erase();
  EXPECT_EQ(written(), "\r\033[K");
  bar.end();
  EXPECT_THAT(written(), HasSubstr("ingest: 1.0 MB in 1.10 s, 1.0 MB/s\n"));
}

TEST_F(ProgressBarTest, LongLinesAreCutToTheTerminal) {
  auto bar = make({.terminal = true, .columns = 20});
  bar.begin("a stage with a long name", 10, "rows");
  now_ += 1.0;
  bar.advance(5);
  EXPECT_EQ(written(), "\r\033[Ka stage with a long");
}

TEST_F(ProgressBarTest, RatesCountFromTheFirstAdvance) {
  auto bar = make({.line_seconds = 1.0});
  bar.begin("train", 1000, "steps");
  bar.advance(900);  // resumed here
  now_ += 10.0;
  bar.advance(905);
  EXPECT_EQ(written(), "train: 905 steps of 1,000 steps (90 %), 0.50 steps/s, 3 min 10 s left\n");
}

TEST_F(ProgressBarTest, WithoutATotalThereIsNoPart) {
  auto bar = make({.line_seconds = 1.0});
  bar.begin("read", 0, "rows");
  bar.advance(0);
  now_ += 2.0;
  bar.advance(500);
  EXPECT_EQ(written(), "read: 500 rows, 250 rows/s\n");
}

TEST_F(ProgressBarTest, AStageWithoutWorkEndsQuietly) {
  auto bar = make({});
  bar.begin("encode", 0, "items");
  bar.end();
  EXPECT_EQ(written(), "encode: 0 items in 0.00 s\n");
  bar.begin("write", 3, "files");  // a second stage starts anew
  now_ += 2.0;
  bar.advance(3);
  bar.end();
  EXPECT_THAT(written(), HasSubstr("write: 3 files in 2.00 s, 1.50 files/s\n"));
}

}  // namespace
}  // namespace rondo
