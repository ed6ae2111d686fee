#include "tests/support/mpi_ranks.h"

// The bodies of rank tests on backend `mpi`.
int main(int argc, char** argv) {
  return rondo::testing::main_of_rank(argc, argv, [](rondo::MpiSession& session) {
    rondo::testing::rank_runner().run = [&](int, const rondo::CommunicatorOptions& options,
                                            const rondo::testing::RankBody& body) {
      rondo::testing::run_mpi_rank(session, options, body);
    };
  });
}
