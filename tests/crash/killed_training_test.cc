// 100 steps == 50 steps, kill -9 of a rank some steps later, --resume, 50 steps: bit for bit, through the program. So
// is a run that was asked to stop. With dropout, id dropout, a text tower and rows under Adam, so that random numbers
// and every kind of state count.
#include <signal.h>

#include <functional>
#include <map>
#include <memory>

#include "sharding/base/check.h"
#include "tests/support/synthetic_shop.h"
#include "tests/support/train_lines.h"

namespace rondo {
namespace {

using testing::expect_done;
using ::testing::HasSubstr;
using testing::Process;
using testing::RondoFolder;
using testing::train_lines;
using testing::TrainLine;
using testing::wait_until;
using testing::Words;

constexpr size_t kSaved = 50;
constexpr size_t kSteps = 100;

/// The run that was never interrupted, made once.
const RondoFolder& straight_run() {
  static const auto made = [] {
    auto folder = std::make_unique<RondoFolder>();
    make_shop(*folder);
    folder->write("length.textproto", concat("train { steps: ", kSteps, " checkpoint_steps: ", kSaved, " }"));
    return folder;
  }();
  return *made;
}

class InterruptedTrainingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (std::filesystem::exists(folder_ / "straight")) return;
    expect_done(run_process(folder_.under_mpirun(2, train("straight"))));
    ASSERT_EQ(lines_of("straight").size(), kSteps);
  }

  static Words train(const std::string& run, const Words& more = {}) {
    Words words{"train", "--job", "job.textproto", "--job", "length.textproto", "--out", run};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  std::vector<TrainLine> lines_of(const std::string& run) const {
    return train_lines(folder_.read(run + "/metrics.jsonl"));
  }

  /// Starts the run anew and signals one of its processes once it has done `steps`; 0 if the run was faster.
  int code_after_signal(const std::string& run, size_t steps,
                        const std::function<void(const Process&, const std::map<int, pid_t>&)>& send) const {
    for (int attempt = 0; attempt < 3; ++attempt) {
      std::filesystem::remove_all(folder_ / run);
      Process job(folder_.under_mpirun(2, train(run)));
      const auto trained = [&](size_t wanted) {
        return [&, wanted] { return job.has_ended() || lines_of(run).size() >= wanted; };
      };
      EXPECT_TRUE(wait_until(trained(1)));
      const auto ranks = job.ranks();
      EXPECT_TRUE(wait_until(trained(steps)));
      if (!job.has_ended()) send(job, ranks);
      const int code = job.wait().code;
      if (lines_of(run).size() < kSteps) return code;
    }
    return 0;
  }

  void kill_a_run(const std::string& run, int rank) const {
    const auto kill = [rank](const Process&, const std::map<int, pid_t>& ranks) { ::kill(ranks.at(rank), SIGKILL); };
    ASSERT_EQ(code_after_signal(run, kSaved + 5, kill), 128 + SIGKILL);
    ASSERT_THAT(folder_.read(run + "/checkpoints/LATEST"), HasSubstr("step-000000050"));
  }

  /// Goes on with a run and compares: losses, and of the last checkpoint parameters, rows, optimizer state, position in
  /// the data, and the digests of all that.
  void expect_resumes_bit_for_bit(const std::string& run, const std::string& from) const {
    const auto result = run_process(folder_.under_mpirun(2, train(run, {"--resume"})));
    expect_done(result);
    EXPECT_THAT(result.err, HasSubstr(concat("resuming from ", run, "/checkpoints/", from)));
    EXPECT_EQ(lines_of(run), lines_of("straight"));
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "straight/checkpoints/step-000000100")) {
      const std::string name = "/checkpoints/step-000000100/" + entry.path().filename().string();
      EXPECT_TRUE(folder_.read("straight" + name) == folder_.read(run + name)) << name << " differs";
      ++files;
    }
    EXPECT_EQ(files, 6) << "dense.h5, two rows files, MANIFEST, job.textproto, tokenizer.json";
  }

  const RondoFolder& folder_ = straight_run();
};

class KilledTrainingTest : public InterruptedTrainingTest, public ::testing::WithParamInterface<int> {};

TEST_P(KilledTrainingTest, GoesOnBitForBit) {
  const std::string run = concat("killed-", GetParam());
  kill_a_run(run, GetParam());
  expect_resumes_bit_for_bit(run, "step-000000050: step 50 of 100");
}

INSTANTIATE_TEST_SUITE_P(KilledRank, KilledTrainingTest, ::testing::Values(0, 1));

TEST_F(InterruptedTrainingTest, ThatWasAskedToStopGoesOnBitForBit) {
  const auto ask = [](const Process& mpirun, const auto&) { ::kill(mpirun.pid(), SIGUSR1); };
  ASSERT_EQ(code_after_signal("stopped", 5, ask), static_cast<int>(ExitCode::kStopped));
  const size_t steps = lines_of("stopped").size();
  EXPECT_LT(steps, kSteps);
  const std::string step = concat(steps, ": step ", steps, " of 100");
  EXPECT_THAT(folder_.read("stopped/log/rank-00000.log"), HasSubstr(concat("stopped on request after step ", steps)));
  expect_resumes_bit_for_bit("stopped", concat("step-", std::string(9 - std::to_string(steps).size(), '0'), step));
}

using AnotherWorldTest = KilledTrainingTest;  // on so many ranks

TEST_P(AnotherWorldTest, GoesOnWithTheSameLosses) {
  kill_a_run("killed-world", 1);
  const auto result = run_process(folder_.under_mpirun(GetParam(), train("killed-world", {"--resume"})));
  expect_done(result);
  EXPECT_THAT(result.err, HasSubstr(concat("saved by 2 ranks, now ", GetParam(), " ranks")));
  const auto resumed = lines_of("killed-world");
  const auto straight = lines_of("straight");
  ASSERT_EQ(resumed.size(), straight.size());
  for (size_t i = 0; i < kSteps; ++i) {
    EXPECT_EQ(resumed[i].step, straight[i].step);
    EXPECT_NEAR(resumed[i].loss, straight[i].loss, i < kSaved ? 0.0 : 1e-5 * straight[i].loss) << "step " << i + 1;
  }
}

INSTANTIATE_TEST_SUITE_P(World, AnotherWorldTest, ::testing::Values(3));

}  // namespace
}  // namespace rondo
