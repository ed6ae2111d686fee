#include "sharding/comm/watchdog.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <thread>

namespace rondo {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

CommunicatorOptions deadlines() {
  return {.start_deadline = seconds(60),
          .step_deadline = milliseconds(40),
          .evaluation_deadline = seconds(60),
          .checkpoint_deadline = seconds(60)};
}

/// The first report, when there is one within `patience`.
struct Report {
  std::promise<Watchdog::Stuck> promise;
  std::future<Watchdog::Stuck> future = promise.get_future();
  bool comes_within(milliseconds patience) { return future.wait_for(patience) == std::future_status::ready; }
};

TEST(WatchdogTest, ReportsASilentStepOnce) {
  Report report;  // a second report would throw: the promise is kept once
  Watchdog watchdog(deadlines(), milliseconds(20), [&](const auto& stuck) { report.promise.set_value(stuck); });
  watchdog.beat(Phase::kStep, 17);
  ASSERT_TRUE(report.comes_within(seconds(20)));
  const auto stuck = report.future.get();
  EXPECT_EQ(stuck.phase, Phase::kStep);
  EXPECT_EQ(stuck.step, 17);
  EXPECT_GE(stuck.silent, milliseconds(60)) << "deadline plus grace";
  watchdog.beat(Phase::kStep, 18);
  std::this_thread::sleep_for(milliseconds(150));
}

TEST(WatchdogTest, BeatsKeepItQuiet) {
  Report report;
  Watchdog watchdog(deadlines(), milliseconds(400), [&](const auto& stuck) { report.promise.set_value(stuck); });
  for (int step = 0; step < 60; ++step) {
    watchdog.beat(Phase::kStep, step);
    std::this_thread::sleep_for(milliseconds(10));
  }
  EXPECT_FALSE(report.comes_within(milliseconds(0)));
}

TEST(WatchdogTest, EachPhaseHasItsDeadline) {
  Report report;
  Watchdog watchdog(deadlines(), milliseconds(20), [&](const auto& stuck) { report.promise.set_value(stuck); });
  EXPECT_FALSE(report.comes_within(milliseconds(100))) << "the start may take a minute";
  watchdog.beat(Phase::kStep, 0);
  watchdog.beat(Phase::kEvaluation, 1);
  EXPECT_FALSE(report.comes_within(milliseconds(200))) << "and so may an evaluation";
  watchdog.beat(Phase::kStep, 2);
  EXPECT_TRUE(report.comes_within(seconds(20)));
}

TEST(WatchdogTest, EndsAtOnceWithItsOwner) {
  const auto start = std::chrono::steady_clock::now();
  {
    Watchdog watchdog(deadlines(), seconds(60), [](const auto&) { FAIL(); });
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(10));
}

}  // namespace
}  // namespace rondo
