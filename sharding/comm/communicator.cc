#include "sharding/comm/communicator.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/comm/message_window.h"

namespace rondo {
namespace {

constexpr int64_t kLongestPiece = int64_t{1} << 30;

void check_positive(std::string_view field, std::chrono::milliseconds value) {
  if (value.count() > 0) return;
  throw ConfigError(concat("communicator.", field, " must be at least 1 ms, got ", value.count(), " ms"));
}

struct Failure {
  std::string text;
  ExitCode exit_code = ExitCode::kDone;
};

Failure failure_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return {error.what(), error.exit_code()};
  } catch (const std::exception& error) {
    return {error.what(), ExitCode::kInternal};
  } catch (...) {
    return {"an exception of no known type", ExitCode::kInternal};
  }
}

/// `mine` of every rank, in rank order.
std::vector<int64_t> gather_values(Communicator& comm, int64_t mine, std::string_view what) {
  const std::vector<int64_t> rows(static_cast<size_t>(comm.size()), 1);
  at::Tensor input = at::empty({1}, at::kLong);
  at::Tensor output = at::empty({comm.size()}, at::kLong);
  *input.mutable_data_ptr<int64_t>() = mine;
  comm.all_gather(input, output, rows, {Channel::kControl, what})->wait();
  const auto* values = output.const_data_ptr<int64_t>();
  return {values, values + comm.size()};
}

std::string text_of(Communicator& comm, const std::string& mine, int root, std::string_view what) {
  const int64_t length = gather_values(comm, static_cast<int64_t>(mine.size()), what)[static_cast<size_t>(root)];
  at::Tensor text = at::empty({length}, at::kByte);
  if (comm.rank() == root && length > 0) std::memcpy(text.mutable_data_ptr(), mine.data(), mine.size());
  comm.broadcast(text, root, {Channel::kControl, what})->wait();
  return {static_cast<const char*>(text.const_data_ptr()), static_cast<size_t>(length)};
}

}  // namespace

std::chrono::milliseconds CommunicatorOptions::deadline(Phase phase) const {
  switch (phase) {
    case Phase::kStart:
      return start_deadline;
    case Phase::kStep:
      return step_deadline;
    case Phase::kEvaluation:
      return evaluation_deadline;
    case Phase::kCheckpoint:
      return checkpoint_deadline;
  }
  return step_deadline;
}

void validate(const CommunicatorOptions& options) {
  check_positive("start_deadline", options.start_deadline);
  check_positive("step_deadline", options.step_deadline);
  check_positive("evaluation_deadline", options.evaluation_deadline);
  check_positive("checkpoint_deadline", options.checkpoint_deadline);
  if (options.piece_bytes < 1 || options.piece_bytes > kLongestPiece) {
    throw ConfigError(
        concat("communicator.piece_bytes must be between 1 and ", kLongestPiece, ", got ", options.piece_bytes));
  }
}

std::unique_ptr<MessageWindow> Communicator::open_window() { return nullptr; }

void agree(Communicator& comm, const std::exception_ptr& mine, std::string_view what) {
  const Failure failure = mine ? failure_of(mine) : Failure{};
  const auto codes = gather_values(comm, static_cast<int64_t>(failure.exit_code), what);
  const auto failed = std::find_if(codes.begin(), codes.end(), [](int64_t code) { return code != 0; });
  if (failed == codes.end()) return;
  const auto root = static_cast<int>(failed - codes.begin());
  const std::string reason = text_of(comm, failure.text, root, what);
  if (mine) std::rethrow_exception(mine);
  throw PeerError(concat("rank ", root, " failed in ", what, ": ", reason), static_cast<ExitCode>(*failed));
}

int64_t broadcast_value(Communicator& comm, int64_t value, std::string_view what) {
  at::Tensor cell = at::empty({1}, at::kLong);
  *cell.mutable_data_ptr<int64_t>() = value;
  comm.broadcast(cell, /*root=*/0, {Channel::kControl, what})->wait();
  return *cell.const_data_ptr<int64_t>();
}

std::string broadcast_text(Communicator& comm, const std::string& text, std::string_view what) {
  return text_of(comm, text, /*root=*/0, what);
}

int64_t sum_of(Communicator& comm, int64_t value, std::string_view what) {
  const auto values = gather_values(comm, value, what);
  return std::accumulate(values.begin(), values.end(), int64_t{0});
}

int64_t largest_of(Communicator& comm, int64_t value, std::string_view what) {
  return std::ranges::max(gather_values(comm, value, what));
}

std::vector<int64_t> gather_sizes(Communicator& comm, int64_t mine, std::string_view what) {
  RONDO_CHECK_GE(mine, 0, "size of '", what, "' on rank ", comm.rank());
  return gather_values(comm, mine, what);
}

}  // namespace rondo
