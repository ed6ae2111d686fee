#pragma once

#include <cstddef>
#include <cstdint>

#include "sharding/embedding/record_launch.h"
#include "sharding/embedding/row_launch.h"
#include "sharding/handle/cuda_api.h"

namespace rondo {

// The row kernels of a CUDA device, each on `stream`; all pointers of `work` are in device memory. V: float, double,
// Float16, BFloat16; T: float, double. They return the status of the launch; none waits.

template <typename V>
CudaStatus launch(const Lookup<V>& work, CudaStream stream);

template <typename T>
CudaStatus launch(const SegmentSums<T>& work, CudaStream stream);

CudaStatus launch(const SegmentStarts& work, CudaStream stream);

template <typename T>
CudaStatus launch(const EntrySources<T>& work, CudaStream stream);

template <typename V>
CudaStatus launch(const RowUpdates<V>& work, CudaStream stream);

template <typename V>
CudaStatus launch(const RowCounts<V>& work, CudaStream stream);

template <typename V>
CudaStatus launch(const InitialRows<V>& work, CudaStream stream);

CudaStatus launch(const RecordCopies& work, CudaStream stream);

/// Entries 0 .. count - 1 sorted by target, equal ones in their order (radix sort).
struct EntrySort {
  const int64_t* targets;  // [count], in [0, limit)
  int64_t count;
  int64_t limit;
  const int64_t* entries;   // [count]: 0, 1, 2, ...
  int64_t* sorted_targets;  // [count]
  int64_t* sorted_entries;  // [count]
  void* scratch;
  size_t scratch_bytes;  // what scratch_bytes_of says
};

size_t scratch_bytes_of(int64_t count, int64_t limit);
CudaStatus launch(const EntrySort& work, CudaStream stream);

}  // namespace rondo
