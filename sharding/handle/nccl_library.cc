#include <nccl.h>

#include <cstring>

#include "sharding/handle/nccl_api.h"

static_assert(NCCL_UNIQUE_ID_BYTES == sizeof(rondo::NcclUniqueId));
static_assert(static_cast<int>(rondo::NcclResult::kInProgress) == ncclInProgress);
static_assert(static_cast<int>(rondo::NcclType::kBytes) == ncclUint8);
static_assert(static_cast<int>(rondo::NcclType::kInt64) == ncclInt64);
static_assert(static_cast<int>(rondo::NcclType::kFloat32) == ncclFloat32);
static_assert(static_cast<int>(rondo::NcclType::kFloat64) == ncclFloat64);

namespace rondo {
namespace {

NcclResult result_of(ncclResult_t result) { return static_cast<NcclResult>(result); }
ncclDataType_t native(NcclType type) { return static_cast<ncclDataType_t>(type); }

ncclConfig_t non_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

NcclResult init_rank(NcclComm* comm, int ranks, const NcclUniqueId& id, int rank) {
  ncclUniqueId native_id;
  std::memcpy(native_id.internal, id.data(), id.size());
  ncclConfig_t config = non_blocking();
  return result_of(ncclCommInitRankConfig(comm, ranks, native_id, rank, &config));
}

NcclResult unique_id(NcclUniqueId* id) {
  ncclUniqueId native_id;
  const ncclResult_t result = ncclGetUniqueId(&native_id);
  std::memcpy(id->data(), native_id.internal, id->size());
  return result_of(result);
}

void add_life_cycle(NcclApi& api) {
  api.get_version = [](int* version) { return result_of(ncclGetVersion(version)); };
  api.get_unique_id = unique_id;
  api.comm_init_rank = init_rank;
  api.comm_split = [](NcclComm comm, int color, int key, NcclComm* child) {
    ncclConfig_t config = non_blocking();
    return result_of(ncclCommSplit(comm, color, key, child, &config));
  };
  api.comm_get_async_error = [](NcclComm comm, NcclResult* state) {
    ncclResult_t native_state = ncclSuccess;
    const ncclResult_t result = ncclCommGetAsyncError(comm, &native_state);
    *state = result_of(native_state);
    return result_of(result);
  };
  api.comm_finalize = [](NcclComm comm) { return result_of(ncclCommFinalize(comm)); };
  api.comm_destroy = [](NcclComm comm) { return result_of(ncclCommDestroy(comm)); };
  api.comm_abort = [](NcclComm comm) { return result_of(ncclCommAbort(comm)); };
  api.error_text = [](NcclResult result) -> std::string {
    return ncclGetErrorString(static_cast<ncclResult_t>(result));
  };
  api.last_error = [](NcclComm comm) -> std::string {
    const char* const text = ncclGetLastError(comm);
    return text == nullptr ? "" : text;
  };
}

void add_operations(NcclApi& api) {
  api.group_start = [] { return result_of(ncclGroupStart()); };
  api.group_end = [] { return result_of(ncclGroupEnd()); };
  api.send = [](const void* from, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream) {
    return result_of(ncclSend(from, count, native(type), peer, comm, stream));
  };
  api.recv = [](void* to, size_t count, NcclType type, int peer, NcclComm comm, CudaStream stream) {
    return result_of(ncclRecv(to, count, native(type), peer, comm, stream));
  };
  api.all_reduce = [](const void* from, void* to, size_t count, NcclType type, NcclComm comm, CudaStream stream) {
    return result_of(ncclAllReduce(from, to, count, native(type), ncclSum, comm, stream));
  };
  api.reduce_scatter = [](const void* from, void* to, size_t count, NcclType type, NcclComm comm, CudaStream stream) {
    return result_of(ncclReduceScatter(from, to, count, native(type), ncclSum, comm, stream));
  };
  api.reduce = [](const void* from, void* to, size_t count, NcclType type, int root, NcclComm comm, CudaStream stream) {
    return result_of(ncclReduce(from, to, count, native(type), ncclSum, root, comm, stream));
  };
  api.all_gather = [](const void* from, void* to, size_t count, NcclType type, NcclComm comm, CudaStream stream) {
    return result_of(ncclAllGather(from, to, count, native(type), comm, stream));
  };
  api.broadcast = [](const void* from, void* to, size_t count, NcclType type, int root, NcclComm comm,
                     CudaStream stream) {
    return result_of(ncclBroadcast(from, to, count, native(type), root, comm, stream));
  };
}

}  // namespace

NcclApi nccl_library() {
  NcclApi api;
  add_life_cycle(api);
  add_operations(api);
  return api;
}

}  // namespace rondo
