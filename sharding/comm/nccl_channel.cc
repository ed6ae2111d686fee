#include "sharding/comm/nccl_channel.h"

#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

using std::chrono::steady_clock;

}  // namespace

NcclChannel::NcclChannel(const DeviceLibraries& libraries, std::string_view name, int rank, int world)
    : libraries_(libraries), name_(name), rank_(rank), world_(world), stream_(make_stream(libraries.cuda)) {}

std::string NcclChannel::where(const std::string& doing) const {
  return concat("on rank ", rank_, " of ", world_, ", NCCL ", nccl_version(libraries_.nccl), ", communicator '", name_,
                "', in ", doing);
}

NcclChannel NcclChannel::connect(const DeviceLibraries& libraries, const NcclUniqueId& id, int rank, int world,
                                 const NcclPatience& patience) {
  NcclChannel channel(libraries, "exchange", rank, world);
  NcclComm comm = nullptr;
  const NcclResult result = libraries.nccl.comm_init_rank(&comm, world, id, rank);
  channel.comm_ = NcclCommHandle(libraries.nccl, comm);
  channel.check(result, "ncclCommInitRankConfig", "start");
  channel.settle("ncclCommInitRankConfig", "start", patience);
  return channel;
}

NcclChannel NcclChannel::split(std::string_view name, const NcclPatience& patience) const {
  NcclChannel child(libraries_, name, rank_, world_);
  NcclComm comm = nullptr;
  check(libraries_.nccl.comm_split(comm_.get(), /*color=*/0, /*key=*/rank_, &comm), "ncclCommSplit", "start");
  settle("ncclCommSplit", "start", patience);  // the child is there only once the parent says so
  child.comm_ = NcclCommHandle(libraries_.nccl, comm);
  child.settle("ncclCommSplit", "start", patience);
  return child;
}

void NcclChannel::check(NcclResult result, std::string_view function, const std::string& doing) const {
  if (result == NcclResult::kSuccess || result == NcclResult::kInProgress) return;
  throw PeerError(concat(function, " failed ", where(doing), ": ", explain(libraries_.nccl, result, comm_.get())));
}

void NcclChannel::settle(std::string_view function, const std::string& doing, const NcclPatience& patience) const {
  const auto start = steady_clock::now();
  for (int round = 0;; ++round) {
    NcclResult state = NcclResult::kSuccess;
    check(libraries_.nccl.comm_get_async_error(comm_.get(), &state), "ncclCommGetAsyncError", doing);
    check(state, function, doing);
    if (state == NcclResult::kSuccess) return;
    if (steady_clock::now() - start > patience.deadline) {
      throw PeerError(concat(function, " was not over after ", patience.deadline.count(), " ms ", where(doing),
                             ": some rank has not made the call, or a link is down"),
                      ExitCode::kIoOrDeadline);
    }
    patience.pause(round);
  }
}

std::string NcclChannel::async_error() const {
  NcclResult state = NcclResult::kSuccess;
  const NcclResult result = libraries_.nccl.comm_get_async_error(comm_.get(), &state);
  const NcclResult worst = result == NcclResult::kSuccess ? state : result;
  if (worst == NcclResult::kSuccess || worst == NcclResult::kInProgress) return {};
  return concat("NCCL ", nccl_version(libraries_.nccl), " reports on rank ", rank_, " of ", world_, ", communicator '",
                name_, "': ", explain(libraries_.nccl, worst, comm_.get()));
}

void NcclChannel::finalize(const NcclPatience& patience) {
  check(libraries_.nccl.comm_finalize(comm_.get()), "ncclCommFinalize", "the end");
  settle("ncclCommFinalize", "the end", patience);
}

void NcclChannel::destroy() { libraries_.nccl.comm_destroy(comm_.release()); }

}  // namespace rondo
