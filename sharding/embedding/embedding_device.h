#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "sharding/embedding/row_launches.h"
#include "sharding/handle/cuda_api.h"

namespace rondo {

/// The device that holds the rows of a rank.
struct EmbeddingDevice {
  const CudaApi& cuda;
  const RowLaunches& kernels;

  /// Where tensors of rows and gradients are. at::kCPU: host memory stands in for device memory (the test double).
  at::DeviceType tensors = at::kCUDA;

  /// The stream on which the caller computes; nullptr: the default stream, which is LibTorch's, too.
  CudaStream compute_stream = nullptr;
};

/// What goes from the host to kernels: lists of slots, keys and the like. Pinned memory, a copy stream of its own; the
/// compute stream waits for each copy, the host for none but those of two rounds ago.
class DeviceStaging {
 public:
  /// `device` outlives this.
  explicit DeviceStaging(const EmbeddingDevice& device);
  ~DeviceStaging();
  DeviceStaging(const DeviceStaging&) = delete;
  DeviceStaging& operator=(const DeviceStaging&) = delete;

  const EmbeddingDevice& device() const { return device_; }

  /// A device copy of `values` for kernels on the compute stream. Lives until the second start_round from now.
  template <typename T>
  T* upload(std::span<const T> values) {
    return static_cast<T*>(upload_bytes(values.data(), static_cast<int64_t>(values.size_bytes())));
  }

  /// Device memory without content, of the same life.
  std::byte* scratch(int64_t bytes);

  /// Copies device memory to the host and waits for it: checkpoints and errors, not the steps.
  void download(void* to, const void* from, int64_t bytes);

  /// The work of one lookup or update is given; the memory of the round before the last is used again.
  void start_round();

  /// Gives `work` to the compute stream. Throws PeerError when the device refuses.
  template <typename Work>
  void launch(const Work& work) const {
    check_cuda(device_.cuda, device_.kernels.launch(work, device_.compute_stream), "a row kernel");
  }

 private:
  struct Chunk {
    PinnedMemoryHandle pinned;
    DeviceMemoryHandle memory;
    int64_t bytes = 0;
    int64_t used = 0;
  };
  struct Place {
    std::byte* pinned;
    std::byte* memory;
  };
  struct Round {
    std::vector<Chunk> chunks;
    CudaEventHandle over;  // all that used it
    bool recorded = false;
  };

  void* upload_bytes(const void* from, int64_t bytes);
  Place take(int64_t bytes);
  void wait_on_host(CudaEvent event) const;

  const EmbeddingDevice& device_;
  CudaStreamHandle copies_;
  CudaEventHandle copied_;
  Round rounds_[2];
  int now_ = 0;
};

}  // namespace rondo
