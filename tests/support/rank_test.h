#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/comm/communicator.h"
#include "sharding/comm/thread_communicator.h"

namespace rondo::testing {

using RankBody = std::function<void(Communicator&)>;

/// How the bodies of rank tests run. As threads of this process; mpi_main.cc makes them run on the ranks of mpirun.
struct RankRunner {
  std::vector<int> worlds{1, 2, 3, 4, 7};
  std::function<void(int world, const CommunicatorOptions&, const RankBody&)> run = run_ranks;
  int first_call = 0;  // number of the first call of a body: calls that a backend makes for itself
};

/// The one of this process; set before InitGoogleTest.
inline RankRunner& rank_runner() {
  static RankRunner runner;
  return runner;
}

/// Deadlines short enough for a test that hangs to end by itself.
inline CommunicatorOptions test_options() {
  using std::chrono::seconds;
  return {.start_deadline = seconds(30),
          .step_deadline = seconds(30),
          .evaluation_deadline = seconds(30),
          .checkpoint_deadline = seconds(30)};
}

/// A test of what several ranks do together. The parameter is the world:
///
///   class AllToAllTest : public RankTest {};
///   TEST_P(AllToAllTest, Delivers) { on_each_rank([](Communicator& comm) { EXPECT_EQ(...); }); }
///   RONDO_INSTANTIATE_RANK_TEST(AllToAllTest);
///
/// Inside a body use EXPECT_, not ASSERT_: a rank that returns early leaves its peers with a PeerError. Inputs depend
/// on rank, position and destination, so that a swapped segment shows.
class RankTest : public ::testing::TestWithParam<int> {
 protected:
  int world() const { return GetParam(); }

  /// Runs `body` on every rank of world() and throws its first failure again (run_ranks; under mpirun each rank its
  /// own).
  void on_each_rank(const RankBody& body, const CommunicatorOptions& options = test_options()) {
    on_each_rank_of(world(), body, options);
  }

  static void on_each_rank_of(int world, const RankBody& body, const CommunicatorOptions& options = test_options()) {
    rank_runner().run(world, options, [&](Communicator& comm) {
      SCOPED_TRACE(concat("rank ", comm.rank(), " of ", comm.size()));
      body(comm);
    });
  }
};

}  // namespace rondo::testing

#define RONDO_INSTANTIATE_RANK_TEST(fixture)                                                           \
  INSTANTIATE_TEST_SUITE_P(Worlds, fixture, ::testing::ValuesIn(rondo::testing::rank_runner().worlds), \
                           [](const auto& info) { return "world_" + std::to_string(info.param); })
