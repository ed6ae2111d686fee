#include <gtest/gtest.h>

#include "tests/support/nccl_ranks.h"
#include "tests/support/rank_test.h"

// The bodies of rank tests on backend `nccl`, over the doubles of CUDA and NCCL.
int main(int argc, char** argv) {
  using namespace rondo::testing;
  rank_runner().run = [](int world, const rondo::CommunicatorOptions& options, const RankBody& body) {
    run_nccl_ranks(world, options, {}, [&](rondo::NcclCommunicator& comm) { body(comm); });
  };
  rank_runner().first_call = 2;  // a barrier, and the unique id
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
