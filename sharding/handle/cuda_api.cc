#include "sharding/handle/cuda_api.h"

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {

void check_cuda(const CudaApi& api, CudaStatus status, std::string_view function, std::string_view where) {
  if (status == kCudaSuccess) return;
  throw PeerError(concat(function, " failed: ", api.error_text(status), " (CUDA error ", status, ")",
                         where.empty() ? "" : " ", where),
                  ExitCode::kIoOrDeadline);
}

CudaStreamHandle make_stream(const CudaApi& api) {
  CudaStream stream = nullptr;
  check_cuda(api, api.stream_create(&stream), "cudaStreamCreateWithFlags");
  return {api, stream};
}

CudaEventHandle make_event(const CudaApi& api) {
  CudaEvent event = nullptr;
  check_cuda(api, api.event_create(&event), "cudaEventCreateWithFlags");
  return {api, event};
}

DeviceMemoryHandle allocate_device(const CudaApi& api, int64_t bytes) {
  void* memory = nullptr;
  check_cuda(api, api.malloc(&memory, static_cast<size_t>(bytes)), "cudaMalloc", concat("of ", bytes, " bytes"));
  return {api, memory};
}

PinnedMemoryHandle allocate_pinned(const CudaApi& api, int64_t bytes) {
  void* memory = nullptr;
  check_cuda(api, api.malloc_host(&memory, static_cast<size_t>(bytes)), "cudaMallocHost",
             concat("of ", bytes, " bytes"));
  return {api, memory};
}

}  // namespace rondo
