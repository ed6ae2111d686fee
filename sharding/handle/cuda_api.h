#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "sharding/handle/api_handle.h"

// As cuda_runtime.h has them, so that the tables need none of its headers.
struct CUstream_st;
struct CUevent_st;

namespace rondo {

using CudaStream = CUstream_st*;
using CudaEvent = CUevent_st*;

/// cudaError_t by value; any other one is a failure that `error_text` explains.
using CudaStatus = int;
constexpr CudaStatus kCudaSuccess = 0;
constexpr CudaStatus kCudaInvalidValue = 1;
constexpr CudaStatus kCudaInsufficientDriver = 35;
constexpr CudaStatus kCudaNoDevice = 100;
constexpr CudaStatus kCudaInvalidHandle = 400;
constexpr CudaStatus kCudaNotReady = 600;

/// What a start-up says of a device.
struct CudaDeviceInfo {
  std::string name;
  std::string uuid;  // hexadecimal; two ranks with the same one share a GPU
  int64_t memory_bytes = 0;
  int major = 0;  // compute capability
  int minor = 0;
};

/// The functions of the CUDA runtime that Rondo calls: those of the library (cuda_library), or of a test double. Called
/// by the thread of the rank.
struct CudaApi {
  std::function<CudaStatus(int* count)> get_device_count;
  std::function<CudaStatus(int device)> set_device;
  std::function<CudaStatus(int device, CudaDeviceInfo* info)> get_device_info;
  std::function<CudaStatus(int* version)> driver_version;
  std::function<CudaStatus(int* version)> runtime_version;
  std::function<CudaStatus(int device, int peer, bool* can)> can_access_peer;

  std::function<CudaStatus(CudaStream* stream)> stream_create;  // cudaStreamNonBlocking
  std::function<CudaStatus(CudaStream stream)> stream_destroy;
  std::function<CudaStatus(CudaStream stream, CudaEvent event)> stream_wait_event;

  std::function<CudaStatus(CudaEvent* event)> event_create;  // cudaEventDisableTiming
  std::function<CudaStatus(CudaEvent event)> event_destroy;
  std::function<CudaStatus(CudaEvent event, CudaStream stream)> event_record;
  std::function<CudaStatus(CudaEvent event)> event_query;  // kCudaNotReady: not yet

  std::function<CudaStatus(void** memory, size_t bytes)> malloc;
  std::function<CudaStatus(void* memory)> free;
  std::function<CudaStatus(void** memory, size_t bytes)> malloc_host;  // pinned
  std::function<CudaStatus(void* memory)> free_host;
  /// Either side in device or in host memory.
  std::function<CudaStatus(void* to, const void* from, size_t bytes, CudaStream stream)> memcpy_async;

  std::function<std::string(CudaStatus status)> error_text;
};

/// The runtime that this program was built with. Throws ConfigError that says what is missing if it was built without.
CudaApi cuda_library();

/// Was this program built with CUDA and NCCL?
bool built_with_cuda();

/// Throws PeerError "cudaEventRecord failed: <text> (<number>) <where>": a device that is lost is lost to the job.
void check_cuda(const CudaApi& api, CudaStatus status, std::string_view function, std::string_view where = {});

struct CudaStreamTraits {
  using Native = CudaStream;
  using Api = CudaApi;
  static Native empty() { return nullptr; }
  static void release(const Api& api, Native stream) noexcept { api.stream_destroy(stream); }
};
using CudaStreamHandle = ApiHandle<CudaStreamTraits>;

struct CudaEventTraits {
  using Native = CudaEvent;
  using Api = CudaApi;
  static Native empty() { return nullptr; }
  static void release(const Api& api, Native event) noexcept { api.event_destroy(event); }
};
using CudaEventHandle = ApiHandle<CudaEventTraits>;

struct DeviceMemoryTraits {
  using Native = void*;
  using Api = CudaApi;
  static Native empty() { return nullptr; }
  static void release(const Api& api, Native memory) noexcept { api.free(memory); }
};
using DeviceMemoryHandle = ApiHandle<DeviceMemoryTraits>;

struct PinnedMemoryTraits {
  using Native = void*;
  using Api = CudaApi;
  static Native empty() { return nullptr; }
  static void release(const Api& api, Native memory) noexcept { api.free_host(memory); }
};
using PinnedMemoryHandle = ApiHandle<PinnedMemoryTraits>;

/// Throw PeerError when the runtime refuses.
CudaStreamHandle make_stream(const CudaApi& api);
CudaEventHandle make_event(const CudaApi& api);
DeviceMemoryHandle allocate_device(const CudaApi& api, int64_t bytes);
PinnedMemoryHandle allocate_pinned(const CudaApi& api, int64_t bytes);

}  // namespace rondo
