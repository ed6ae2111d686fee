#include <cuda_runtime_api.h>

#include "sharding/handle/cuda_api.h"

namespace rondo {
namespace {

CudaStatus device_info(int device, CudaDeviceInfo* info) {
  cudaDeviceProp properties{};
  const cudaError_t status = cudaGetDeviceProperties(&properties, device);
  if (status != cudaSuccess) return status;
  info->name = properties.name;
  info->uuid.clear();
  for (const char byte : properties.uuid.bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    const auto value = static_cast<unsigned char>(byte);
    info->uuid += kDigits[value / 16];
    info->uuid += kDigits[value % 16];
  }
  info->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  info->major = properties.major;
  info->minor = properties.minor;
  return kCudaSuccess;
}

CudaStatus can_access_peer(int device, int peer, bool* can) {
  int answer = 0;
  const cudaError_t status = cudaDeviceCanAccessPeer(&answer, device, peer);
  *can = answer != 0;
  return status;
}

}  // namespace

bool built_with_cuda() { return true; }

CudaApi cuda_library() {
  CudaApi api;
  api.get_device_count = [](int* count) -> CudaStatus { return cudaGetDeviceCount(count); };
  api.set_device = [](int device) -> CudaStatus { return cudaSetDevice(device); };
  api.get_device_info = device_info;
  api.driver_version = [](int* version) -> CudaStatus { return cudaDriverGetVersion(version); };
  api.runtime_version = [](int* version) -> CudaStatus { return cudaRuntimeGetVersion(version); };
  api.can_access_peer = can_access_peer;
  api.stream_create = [](CudaStream* stream) -> CudaStatus {
    return cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
  };
  api.stream_destroy = [](CudaStream stream) -> CudaStatus { return cudaStreamDestroy(stream); };
  api.stream_wait_event = [](CudaStream stream, CudaEvent event) -> CudaStatus {
    return cudaStreamWaitEvent(stream, event, 0);
  };
  api.event_create = [](CudaEvent* event) -> CudaStatus {
    return cudaEventCreateWithFlags(event, cudaEventDisableTiming);
  };
  api.event_destroy = [](CudaEvent event) -> CudaStatus { return cudaEventDestroy(event); };
  api.event_record = [](CudaEvent event, CudaStream stream) -> CudaStatus { return cudaEventRecord(event, stream); };
  api.event_query = [](CudaEvent event) -> CudaStatus { return cudaEventQuery(event); };
  api.malloc = [](void** memory, size_t bytes) -> CudaStatus { return cudaMalloc(memory, bytes); };
  api.free = [](void* memory) -> CudaStatus { return cudaFree(memory); };
  api.malloc_host = [](void** memory, size_t bytes) -> CudaStatus { return cudaMallocHost(memory, bytes); };
  api.free_host = [](void* memory) -> CudaStatus { return cudaFreeHost(memory); };
  api.memcpy_async = [](void* to, const void* from, size_t bytes, CudaStream stream) -> CudaStatus {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream);
  };
  api.error_text = [](CudaStatus status) -> std::string {
    return cudaGetErrorString(static_cast<cudaError_t>(status));
  };
  return api;
}

}  // namespace rondo
