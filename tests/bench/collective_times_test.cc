#include "tests/bench/collective_times.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/nccl_ranks.h"

namespace rondo::bench {
namespace {

TEST(BandwidthTest, IsThatOfNcclTests) {
  const auto bus = [](Collective collective) { return bandwidth_of(collective, 8, 4'000'000'000, 2.0).bus; };
  EXPECT_DOUBLE_EQ(bandwidth_of(Collective::kAllReduce, 8, 4'000'000'000, 2.0).algorithm, 2.0);
  EXPECT_DOUBLE_EQ(bus(Collective::kAllReduce), 2.0 * 2 * 7 / 8);
  EXPECT_DOUBLE_EQ(bus(Collective::kReduceScatter), 2.0 * 7 / 8);
  EXPECT_DOUBLE_EQ(bus(Collective::kAllGather), 2.0 * 7 / 8);
  EXPECT_DOUBLE_EQ(bus(Collective::kAllToAll), 2.0 * 7 / 8);
  EXPECT_DOUBLE_EQ(bus(Collective::kBroadcast), 2.0);
}

TEST(CollectiveTimesTest, EveryCollectiveIsCheckedAndTimedOverTheDouble) {
  for (const int world : {1, 3}) {
    testing::run_nccl_ranks(world, testing::test_options(), {}, [&](NcclCommunicator& comm) {
      const auto times = time_collectives(comm, {.device = at::kCPU, .bytes = {100, 4'096}, .warmup = 1, .repeats = 2});
      EXPECT_EQ(times.size(), 10U);
      for (const CollectiveTime& time : times) {
        EXPECT_TRUE(time.correct);
        EXPECT_GT(time.seconds, 0.0);
        EXPECT_EQ(time.bytes % (4 * world), 0);
      }
      EXPECT_THAT(text_of(times, world, "nccl"), ::testing::HasSubstr("RESULT {\"backend\":\"nccl\",\"world\":"));
    });
  }
}

}  // namespace
}  // namespace rondo::bench
