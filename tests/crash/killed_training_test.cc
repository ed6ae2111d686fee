// 100 steps == 50 steps, kill -9 of a rank some steps later, --resume, 50 steps: bit for bit, through the program.
// With dropout, id dropout, a text tower and rows under Adam, so that random numbers and every kind of state count.
#include <signal.h>

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

class KilledTrainingTest : public ::testing::TestWithParam<int> {
 protected:
  static Words train(const std::string& run, const Words& more = {}) {
    Words words{"train", "--job", "job.textproto", "--job", "length.textproto", "--out", run};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }

  std::vector<TrainLine> lines_of(const std::string& run) const {
    return train_lines(folder_.read(run + "/metrics.jsonl"));
  }

  void make_straight_run() const {
    if (std::filesystem::exists(folder_ / "straight")) return;
    expect_done(run_process(folder_.under_mpirun(2, train("straight"))));
    ASSERT_EQ(lines_of("straight").size(), kSteps);
  }

  /// Kills `rank` between the checkpoint and the end; false if the run was faster.
  bool make_killed_run(const std::string& run, int rank) const {
    std::filesystem::remove_all(folder_ / run);
    Process job(folder_.under_mpirun(2, train(run)));
    const auto trained = [&](size_t steps) {
      return [this, &job, &run, steps] { return job.has_ended() || lines_of(run).size() >= steps; };
    };
    EXPECT_TRUE(wait_until(trained(1)));
    const auto pids = job.ranks();
    EXPECT_TRUE(wait_until(trained(kSaved + 5)));
    if (!job.has_ended() && pids.contains(rank)) ::kill(pids.at(rank), SIGKILL);
    const auto result = job.wait();
    if (result.code == 0) return false;
    EXPECT_EQ(result.code, 128 + SIGKILL) << result.err;
    EXPECT_THAT(folder_.read(run + "/checkpoints/LATEST"), HasSubstr("step-000000050"));
    return true;
  }

  void kill_a_run(const std::string& run, int rank) const {
    make_straight_run();
    for (int attempt = 0; attempt < 3; ++attempt) {
      if (make_killed_run(run, rank)) return;
    }
    FAIL() << "the run ended before it could be killed";
  }

  const RondoFolder& folder_ = straight_run();
};

TEST_P(KilledTrainingTest, GoesOnBitForBit) {
  const std::string run = concat("killed-", GetParam());
  kill_a_run(run, GetParam());
  const auto result = run_process(folder_.under_mpirun(2, train(run, {"--resume"})));
  expect_done(result);
  EXPECT_THAT(result.err, HasSubstr(concat("resumed from ", run, "/checkpoints/step-000000050 at step 50")));
  EXPECT_EQ(lines_of(run), lines_of("straight"));

  // Parameters, rows, optimizer state, position in the data, and the digests of all that.
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "straight/checkpoints/step-000000100")) {
    const std::string name = "/checkpoints/step-000000100/" + entry.path().filename().string();
    EXPECT_TRUE(folder_.read("straight" + name) == folder_.read(run + name)) << name << " differs";
    ++files;
  }
  EXPECT_EQ(files, 6) << "dense.h5, two rows files, MANIFEST, job.textproto, vocab.txt";
}

INSTANTIATE_TEST_SUITE_P(KilledRank, KilledTrainingTest, ::testing::Values(0, 1));

using AnotherWorldTest = KilledTrainingTest;

TEST_P(AnotherWorldTest, GoesOnWithTheSameLosses) {
  kill_a_run("killed-world", 1);
  const auto result = run_process(folder_.under_mpirun(GetParam(), train("killed-world", {"--resume"})));
  expect_done(result);
  EXPECT_THAT(result.err, HasSubstr("at step 50"));
  const auto resumed = lines_of("killed-world");
  const auto straight = lines_of("straight");
  ASSERT_EQ(resumed.size(), straight.size());
  for (size_t i = 0; i < kSteps; ++i) {
    EXPECT_EQ(resumed[i].step, straight[i].step);
    EXPECT_NEAR(resumed[i].loss, straight[i].loss, i < kSaved ? 0.0 : 1e-4 * straight[i].loss) << "step " << i + 1;
  }
}

INSTANTIATE_TEST_SUITE_P(World, AnotherWorldTest, ::testing::Values(3));

}  // namespace
}  // namespace rondo
