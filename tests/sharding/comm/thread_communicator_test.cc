#include "sharding/comm/thread_communicator.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "sharding/base/error.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::test_options;

constexpr CallTag kTag{Channel::kControl, "meeting"};

TEST(RunRanksTest, ThrowsTheCauseAndNotWhatItsPeersSaw) {
  for (int bad = 0; bad < 4; ++bad) {
    std::atomic<int> told = 0;
    const auto body = [&](Communicator& comm) {
      comm.barrier(kTag);
      if (comm.rank() == bad) throw DataError("record " + std::to_string(bad));
      try {
        comm.barrier(kTag);
      } catch (const PeerError& error) {
        EXPECT_EQ(error.exit_code(), ExitCode::kBadData) << "the cause says whether a restart helps";
        ++told;
        throw;
      }
    };
    try {
      run_ranks(4, test_options(), body);
      ADD_FAILURE() << "nothing thrown";
    } catch (const DataError& error) {
      EXPECT_EQ(error.what(), "record " + std::to_string(bad));
    }
    EXPECT_EQ(told, 3);
  }
}

TEST(RunRanksTest, PassesOnExceptionsOfAnyType) {
  const auto body = [](Communicator& comm) {
    if (comm.rank() == 1) throw 17;
    comm.barrier(kTag);
  };
  EXPECT_THROW(run_ranks(3, test_options(), body), int);
}

TEST(RunRanksTest, RunsEveryRankOnce) {
  std::atomic<int> sum = 0;
  run_ranks(7, test_options(), [&](Communicator& comm) {
    EXPECT_EQ(comm.size(), 7);
    sum += 1 << comm.rank();
  });
  EXPECT_EQ(sum, 127);
}

TEST(RunRanksTest, ConsequencesOfADepartureNameTheRankThatLeft) {
  try {
    run_ranks(3, test_options(), [](Communicator& comm) {
      if (comm.rank() != 2) comm.barrier(kTag);
    });
    ADD_FAILURE() << "nothing thrown";
  } catch (const PeerError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("rank 2 has left after 0 calls"));
  }
}

TEST(SingleCommunicatorTest, CompletesEveryCallAtOnce) {
  const auto comm = make_single_communicator(test_options());
  EXPECT_EQ(comm->size(), 1);
  at::Tensor values = at::zeros({5}, at::kFloat);
  values.mutable_data_ptr<float>()[3] = 4;
  comm->all_reduce(values, kTag)->wait();
  EXPECT_EQ(values.const_data_ptr<float>()[3], 4);
  comm->barrier(kTag);
}

TEST(CommunicatorOptionsTest, SaysWhatIsOutOfRange) {
  CommunicatorOptions options;
  EXPECT_NO_THROW(validate(options));
  options.step_deadline = std::chrono::milliseconds(0);
  try {
    validate(options);
    ADD_FAILURE() << "nothing thrown";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(), "communicator.step_deadline must be at least 1 ms, got 0 ms");
  }
  options = {};
  options.piece_bytes = (int64_t{1} << 30) + 1;
  EXPECT_THROW(validate(options), ConfigError);
  options.piece_bytes = 0;
  EXPECT_THROW(validate(options), ConfigError);
}

}  // namespace
}  // namespace rondo
