#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <memory>

#include "sharding/base/error.h"
#include "sharding/comm/communicator.h"
#include "sharding/comm/mpi_communicator.h"
#include "sharding/handle/mpi_session.h"
#include "tests/support/rank_test.h"

// main of rank tests under mpirun: bodies run on the ranks of the job, every rank prints its failures, and one bad rank
// fails every rank, so that the launcher's status is never green by luck.
namespace rondo::testing {
namespace {

/// Prints failures only: seven ranks that report each passed test say nothing more than one does.
class FailurePrinter final : public ::testing::EmptyTestEventListener {
 public:
  explicit FailurePrinter(int rank) : rank_(rank) {}

  void OnTestPartResult(const ::testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::cerr << "[rank " << rank_ << "] " << (result.file_name() != nullptr ? result.file_name() : "?") << ":"
              << result.line_number() << ": Failure\n"
              << result.message() << std::endl;
  }

 private:
  int rank_;
};

void run_on_this_rank(MpiSession& session, const CommunicatorOptions& options, const RankBody& body) {
  const auto comm = make_mpi_communicator(session, options);
  try {
    body(*comm);
  } catch (const Error& error) {
    comm->give_up(error.what(), error.exit_code());
    throw;
  } catch (const std::exception& error) {
    comm->give_up(error.what(), ExitCode::kInternal);
    throw;
  }
}

int run_tests(MpiSession& session) {
  const int failed = RUN_ALL_TESTS();
  const auto comm = make_mpi_communicator(session, test_options());
  return static_cast<int>(largest_of(*comm, failed, "verdict"));
}

int main_of_rank(int argc, char** argv) {
  MpiSession session;
  rank_runner().worlds = {session.size()};
  rank_runner().run = [&](int, const CommunicatorOptions& options, const RankBody& body) {
    run_on_this_rank(session, options, body);
  };
  ::testing::InitGoogleMock(&argc, argv);
  if (session.rank() != 0) {
    auto& listeners = ::testing::UnitTest::GetInstance()->listeners();
    const std::unique_ptr<::testing::TestEventListener> released(listeners.Release(listeners.default_result_printer()));
    listeners.Append(std::make_unique<FailurePrinter>(session.rank()).release());
  }
  const int failed = run_tests(session);
  session.finalize();
  return failed;
}

}  // namespace
}  // namespace rondo::testing

int main(int argc, char** argv) { return rondo::testing::main_of_rank(argc, argv); }
