#include "tests/support/mpi_ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>
#include <memory>

#include "sharding/base/error.h"
#include "sharding/comm/mpi_communicator.h"

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

int run_tests(MpiSession& session) {
  const int failed = RUN_ALL_TESTS();
  const auto comm = make_mpi_communicator(session, test_options());
  return static_cast<int>(largest_of(*comm, failed, "verdict"));
}

}  // namespace

void tell_peers_of_failure(PairwiseCommunicator& comm, const std::function<void()>& step) {
  try {
    step();
  } catch (const Error& error) {
    comm.give_up(error.what(), error.exit_code());
    throw;
  } catch (const std::exception& error) {
    comm.give_up(error.what(), ExitCode::kInternal);
    throw;
  }
}

void run_mpi_rank(MpiSession& session, const CommunicatorOptions& options, const RankBody& body) {
  const auto comm = make_mpi_communicator(session, options);
  tell_peers_of_failure(*comm, [&] { body(*comm); });
}

int main_of_rank(int argc, char** argv, const std::function<void(MpiSession&)>& set_up) {
  MpiSession session;
  rank_runner().worlds = {session.size()};
  set_up(session);
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

}  // namespace rondo::testing
