// Ranks of one job under mpirun that fail, that differ, or that have nothing to do. Ranks that make different calls:
// tests/sharding/comm/failure_test.cc (DivergenceTest); what could lead there is refused before, see below.
#include <signal.h>

#include <memory>

#include "sharding/base/check.h"
#include "tests/support/synthetic_shop.h"
#include "tests/support/train_lines.h"

namespace rondo {
namespace {

using testing::expect_done;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Process;
using testing::ProcessOptions;
using testing::ProcessResult;
using testing::RondoFolder;
using testing::train_lines;
using testing::wait_until;
using testing::Words;

class RanksTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_ / "run"); }

  /// Longer than any test; ranks wait four seconds for one another.
  ProcessOptions endless_training(int ranks) const {
    return folder_.under_mpirun(ranks, {"train", "--job", "job.textproto", "--out", "run", "--set",
                                        "train.steps=1000000", "--set", "communication.step_deadline_s=4"});
  }

  bool has_trained() const { return folder_.read("run/metrics.jsonl").find("\"step\":3}") != std::string::npos; }

  /// Sends `signal` to rank 1 once the ranks train together; how the job ends then.
  ProcessResult end_after(int signal, int ranks) {
    Process job(endless_training(ranks));
    EXPECT_TRUE(wait_until([&] { return has_trained() || job.has_ended(); }));
    const auto pids = job.ranks();
    EXPECT_EQ(pids.size(), static_cast<size_t>(ranks));
    if (pids.contains(1)) ::kill(pids.at(1), signal);
    return job.wait();
  }

  const RondoFolder& folder_ = shop();

 private:
  static const RondoFolder& shop() {
    static const auto made = [] {
      auto folder = std::make_unique<RondoFolder>();
      make_shop(*folder);
      return folder;
    }();
    return *made;
  }
};

TEST_F(RanksTest, OneThatIsKilledEndsAll) {
  const ProcessResult result = end_after(SIGKILL, 3);
  EXPECT_EQ(result.code, 128 + SIGKILL);
  EXPECT_THAT(result.err, HasSubstr("exited on signal 9"));
}

TEST_F(RanksTest, OneThatStopsAnsweringIsNamedByTheOthers) {
  const ProcessResult result = end_after(SIGSTOP, 3);
  EXPECT_EQ(result.code, static_cast<int>(ExitCode::kIoOrDeadline)) << result.err;
  EXPECT_THAT(result.err, HasSubstr("waited longer than 4000 ms"));
  EXPECT_THAT(result.err, HasSubstr("still owed: a call by rank 1"));
  EXPECT_THAT(folder_.read("run/error/rank-00000.json") + folder_.read("run/error/rank-00002.json"),
              HasSubstr("\"code\": 74"));
}

TEST_F(RanksTest, OneThatFailsTellsWhyAndEndsAllWithItsCode) {
  std::filesystem::create_directories(folder_ / "run/log/rank-00001.log");  // a folder where the log is to be
  const ProcessResult result = run_process(endless_training(2));
  EXPECT_EQ(result.code, static_cast<int>(ExitCode::kCannotCreate)) << result.err;
  EXPECT_THAT(result.err, HasSubstr("cannot create the log file run/log/rank-00001.log"));
  EXPECT_THAT(folder_.read("run/error/rank-00001.json"), HasSubstr("\"code\": 73"));
}

TEST_F(RanksTest, AnotherJobOnOneRankIsRefused) {
  const Words train{"train", "--job", "job.textproto", "--out", "run"};
  ProcessOptions two = folder_.under_mpirun(1, train);
  Words other{":", "-n", "1", RONDO_PROGRAM};
  other.insert(other.end(), train.begin(), train.end());
  other.insert(other.end(), {"--set", "seed=4"});  // nothing else would notice
  two.command.insert(two.command.end(), other.begin(), other.end());
  const ProcessResult result = run_process(two);
  EXPECT_EQ(result.code, static_cast<int>(ExitCode::kBadConfiguration)) << result.err;
  EXPECT_THAT(result.err, HasSubstr("rank 1 was given another job than rank 0: line 2 of the whole job is "
                                    "\"seed: 4\", there \"seed: 3\""));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run"));
}

TEST_F(RanksTest, AJobThatNoRankCanReadEndsWithItsCode) {
  const ProcessResult result =
      run_process(folder_.under_mpirun(2, {"train", "--job", "job.textproto", "--set", "x=1"}));
  EXPECT_EQ(result.code, static_cast<int>(ExitCode::kBadConfiguration)) << result.err;
  EXPECT_THAT(result.err, HasSubstr("--set x=1: unknown field \"x\" in Job"));
}

TEST(ManyRanksTest, AWorldLargerThanTheRowsTrainsTheSameModel) {
  const RondoFolder folder;
  std::string events = "user,item,time\n";  // two items by turns, at last the third: that one is held out
  for (int user = 0; user < 5; ++user) {
    for (const int i : {0, 1, 0, 1, 2}) events += concat("u", user, ",i", (user + i) % 3, ",", events.size(), "\n");
  }
  folder.write("events.csv", events);
  folder.write("job.textproto", R"(
    schema {
      event_file { path: "events.csv" }
      events { user: "user" item { column: "item" } time: "time" }
      catalog { item: "item" title: "item" }
    }
    threads: 1
    data { dataset: "dataset" }
    split { kind: LEAVE_ONE_OUT }
    tables { item { buckets: 2 } }
    model { dim: 8 text_beta: 0 }
    loss { mask_positives: false }
    train { epochs: 6 global_batch: 2 log_steps: 1 warmup_steps: 2 }
  )");
  expect_done(folder.rondo({"ingest", "--job", "job.textproto"}));
  expect_done(folder.rondo({"train", "--job", "job.textproto", "--out", "alone"}));
  const ProcessResult result =
      run_process(folder.under_mpirun(4, {"train", "--job", "job.textproto", "--out", "four"}));
  expect_done(result);
  EXPECT_THAT(result.out, HasSubstr("3 of 3 items ranked"));
  const auto alone = train_lines(folder.read("alone/metrics.jsonl"));
  const auto four = train_lines(folder.read("four/metrics.jsonl"));
  ASSERT_EQ(four.size(), alone.size());
  ASSERT_GE(four.size(), 6U);
  double sum = 0;
  for (size_t i = 0; i < four.size(); ++i) {
    EXPECT_NEAR(four[i].loss, alone[i].loss, 1e-5 * alone[i].loss) << "step " << i + 1;
    sum += alone[i].loss;
  }
  EXPECT_GT(sum, 0.0) << "there was nothing to learn";
  expect_done(run_process(folder.under_mpirun(4, {"evaluate", "--run", "four"})));
  expect_done(folder.rondo({"recommend", "--run", "four", "--user", "u3"}));
}

}  // namespace
}  // namespace rondo
