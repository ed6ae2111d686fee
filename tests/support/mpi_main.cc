#include "tests/support/mpi_ranks.h"

// The bodies of rank tests on backend `mpi`.
int main(int argc, char** argv) {
  using namespace rondo;
  return testing::main_of_rank(argc, argv, [](MpiSession& session) {
    testing::rank_runner().run = [&](int, const CommunicatorOptions& options, const testing::RankBody& body) {
      testing::run_mpi_rank(session, options, body);
    };
  });
}
