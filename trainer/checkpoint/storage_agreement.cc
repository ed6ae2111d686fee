#include "trainer/checkpoint/storage_agreement.h"

#include <exception>

#include "sharding/base/error.h"

namespace rondo {
namespace {

std::exception_ptr error_of(const std::function<void()>& body) {
  try {
    body();
    return nullptr;
  } catch (const Error&) {
    return std::current_exception();
  } catch (const std::exception& error) {
    return std::make_exception_ptr(StorageError(error.what()));
  }
}

}  // namespace

void on_each_rank(Communicator& comm, std::string_view what, const std::function<void()>& body) {
  const std::exception_ptr mine = error_of(body);
  if (largest_of(comm, mine ? 1 : 0, what) == 0) return;
  try {
    agree(comm, mine, what);
  } catch (const PeerError& error) {
    throw StorageError(error.what(), error.exit_code());
  }
}

void on_rank_zero(Communicator& comm, std::string_view what, const std::function<void()>& body) {
  on_each_rank(comm, what, [&] {
    if (comm.rank() == 0) body();
  });
}

}  // namespace rondo
