#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <string>

#include "sharding/handle/cuda_api.h"

struct ncclComm;  // as nccl.h has it, so that the table needs no header of it

namespace rondo {

using NcclComm = ncclComm*;
using NcclUniqueId = std::array<char, 128>;

/// ncclResult_t by value. All but kInvalidArgument and kInProgress are fatal for the communicator.
enum class NcclResult : int {
  kSuccess = 0,
  kUnhandledCudaError = 1,
  kSystemError = 2,
  kInternalError = 3,
  kInvalidArgument = 4,
  kInvalidUsage = 5,
  kRemoteError = 6,
  kInProgress = 7,
};

/// ncclDataType_t by value: what Rondo sends (bytes) and sums.
enum class NcclType : int { kBytes = 1, kInt64 = 4, kFloat32 = 7, kFloat64 = 8 };
size_t size_of(NcclType type);

/// The functions of NCCL that Rondo calls: those of the library (nccl_library), or of a test double. Communicators are
/// non-blocking: a call may return kInProgress, and get_async_error says when the communicator may be used again.
struct NcclApi {
  std::function<NcclResult(int* version)> get_version;  // 22809: 2.28.9
  std::function<NcclResult(NcclUniqueId* id)> get_unique_id;
  std::function<NcclResult(NcclComm* comm, int ranks, const NcclUniqueId& id, int rank)> comm_init_rank;
  std::function<NcclResult(NcclComm comm, int color, int key, NcclComm* child)> comm_split;
  std::function<NcclResult(NcclComm comm, NcclResult* state)> comm_get_async_error;
  std::function<NcclResult(NcclComm comm)> comm_finalize;
  std::function<NcclResult(NcclComm comm)> comm_destroy;
  std::function<NcclResult(NcclComm comm)> comm_abort;

  std::function<NcclResult()> group_start;
  std::function<NcclResult()> group_end;
  std::function<NcclResult(const void* from, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream)>
      send;
  std::function<NcclResult(void* to, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream)> recv;
  // Sums.
  std::function<NcclResult(const void* from, void* to, size_t count, NcclType type, NcclComm comm, CudaStream stream)>
      all_reduce;
  std::function<NcclResult(const void* from, void* to, size_t count, NcclType type, NcclComm comm, CudaStream stream)>
      reduce_scatter;  // `count` of the result
  std::function<NcclResult(const void* from, void* to, size_t count, NcclType type, int root, NcclComm comm,
                           CudaStream stream)>
      reduce;
  std::function<NcclResult(const void* from, void* to, size_t count, NcclType type, NcclComm comm, CudaStream stream)>
      all_gather;  // `count` of one rank
  std::function<NcclResult(const void* from, void* to, size_t count, NcclType type, int root, NcclComm comm,
                           CudaStream stream)>
      broadcast;

  std::function<std::string(NcclResult result)> error_text;
  std::function<std::string(NcclComm comm)> last_error;
};

/// The library that this program was built with. Throws ConfigError that says what is missing if it was built without.
NcclApi nccl_library();

/// "2.28.9"; "unknown" when the library does not say.
std::string nccl_version(const NcclApi& api);

/// "unhandled system error (ncclSystemError); last error: ..."
std::string explain(const NcclApi& api, NcclResult result, NcclComm comm);

/// Releases by abort: the end that is safe at any time. The orderly one, finalise and destroy, is NcclChannel's.
struct NcclCommTraits {
  using Native = NcclComm;
  using Api = NcclApi;
  static Native empty() { return nullptr; }
  static void release(const Api& api, Native comm) noexcept { api.comm_abort(comm); }
};
using NcclCommHandle = ApiHandle<NcclCommTraits>;

}  // namespace rondo
