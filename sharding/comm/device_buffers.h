#pragma once

#include <cstdint>
#include <vector>

#include "sharding/handle/cuda_api.h"

namespace rondo {

/// Device memory that is handed out and comes back, and events likewise: what NCCL reads and writes is never a
/// temporary of a caching allocator, and a steady state allocates nothing. Who takes memory orders its streams after
/// those that used it before; the communicator does so through the compute stream.
class DeviceBuffers {
 public:
  /// `api` outlives this and all that is handed out.
  explicit DeviceBuffers(const CudaApi& api) : api_(api) {}

  /// At least `bytes` long: the smallest free one that holds them, else a new one. Empty for 0 bytes.
  /// Throws PeerError when the device has no memory left.
  DeviceMemoryHandle take(int64_t bytes);
  void give_back(DeviceMemoryHandle memory);

  CudaEventHandle take_event();
  /// REQUIRES: nobody asks for the state of its last record any more.
  void give_back(CudaEventHandle event) { events_.push_back(std::move(event)); }

  /// Device memory allocated so far, free or in use: the high-water mark.
  int64_t allocated_bytes() const { return allocated_bytes_; }

 private:
  struct Piece {
    void* memory;
    int64_t bytes;
  };

  const CudaApi& api_;
  std::vector<Piece> sizes_;  // of everything allocated
  std::vector<DeviceMemoryHandle> free_;
  std::vector<CudaEventHandle> events_;
  int64_t allocated_bytes_ = 0;

  int64_t size_of(const DeviceMemoryHandle& memory) const;
};

}  // namespace rondo
