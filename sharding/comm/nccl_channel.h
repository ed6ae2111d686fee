#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "sharding/handle/cuda_api.h"
#include "sharding/handle/nccl_api.h"

namespace rondo {

/// The two libraries as tables of functions; they outlive all that is made with them.
struct DeviceLibraries {
  const CudaApi& cuda;
  const NcclApi& nccl;
};

/// How to wait for NCCL: never inside it. `pause(round)` moves the host's messages and rests; it throws when a peer
/// has failed or this rank is to stop.
struct NcclPatience {
  std::chrono::milliseconds deadline{120'000};
  std::function<void(int round)> pause;
};

/// One NCCL communicator with the stream that its operations run on, in order: one purpose of a job.
///
/// Non-blocking: after each call `settle` waits until the communicator may be used again. What NCCL reports is a
/// PeerError that carries version, result, last error text, rank, channel and `doing`. One thread.
class NcclChannel {
 public:
  /// The communicator of all ranks of `id`. Collective.
  static NcclChannel connect(const DeviceLibraries& libraries, const NcclUniqueId& id, int rank, int world,
                             const NcclPatience& patience);

  /// Another communicator of the same ranks. Collective. `name` outlives it.
  NcclChannel split(std::string_view name, const NcclPatience& patience) const;

  NcclComm comm() const { return comm_.get(); }
  CudaStream stream() const { return stream_.get(); }

  /// Throws unless `result` is success or, for a call on a non-blocking communicator, under way.
  void check(NcclResult result, std::string_view function, const std::string& doing) const;

  /// Waits until NCCL takes the next call. Throws PeerError (kIoOrDeadline) when the deadline passes.
  void settle(std::string_view function, const std::string& doing, const NcclPatience& patience) const;

  /// Text of the error that NCCL has met on its own since; empty: none. Does not wait.
  std::string async_error() const;

  /// Orderly end, in two steps: first every channel of a job is finalised, then every one is destroyed. Collective.
  void finalize(const NcclPatience& patience);
  void destroy();

  /// Ends at once, with what is under way; peers are left alone with it. No thread may be inside NCCL.
  void abort() noexcept { comm_.reset(); }

 private:
  NcclChannel(const DeviceLibraries& libraries, std::string_view name, int rank, int world);
  std::string where(const std::string& doing) const;

  DeviceLibraries libraries_;
  std::string_view name_;
  int rank_;
  int world_;
  CudaStreamHandle stream_;
  NcclCommHandle comm_;  // released first: what it runs on the stream ends
};

}  // namespace rondo
