#include "sharding/embedding/row_device.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cub/device/device_radix_sort.cuh>

namespace rondo {
namespace {

constexpr int kBlockThreads = 256;
/// Enough to fill the largest device a few times; more rows are taken in turns.
constexpr int64_t kMostBlocks = 8192;

int blocks_for(int64_t threads) {
  return static_cast<int>(std::clamp<int64_t>((threads + kBlockThreads - 1) / kBlockThreads, 1, kMostBlocks));
}

__device__ LaneGroup this_group() { return lane_group(blockIdx.x, gridDim.x, threadIdx.x, blockDim.x); }
__device__ int64_t this_worker() { return int64_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ int64_t all_workers() { return int64_t{gridDim.x} * blockDim.x; }

template <typename V>
__global__ void __launch_bounds__(kBlockThreads) lookup_kernel(Lookup<V> work) {
  lookup_rows(work, this_group());
}

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) segment_sum_kernel(SegmentSums<T> work) {
  sum_segments(work, this_group());
}

__global__ void __launch_bounds__(kBlockThreads) segment_start_kernel(SegmentStarts work) {
  find_starts(work, this_worker(), all_workers());
}

template <typename T>
__global__ void __launch_bounds__(kBlockThreads) entry_source_kernel(EntrySources<T> work) {
  find_sources(work, this_worker(), all_workers());
}

/// join_partial_sums over the lanes of a group; the sum on each of them.
template <typename T>
__device__ T join_lanes(T sum, unsigned group_mask) {
  for (int half = kRowLanes / 2; half > 0; half /= 2) {
    sum = sum + __shfl_down_sync(group_mask, sum, half, kRowLanes);
  }
  return __shfl_sync(group_mask, sum, 0, kRowLanes);
}

/// Four blocks on a multiprocessor leave each thread 64 registers: enough that nothing spills (docs/gpu.md).
template <typename V>
__global__ void __launch_bounds__(kBlockThreads, 4) update_kernel(RowUpdates<V> work) {
  using T = ComputeType<V>;
  const LaneGroup group = this_group();
  // The two groups of a warp may have different numbers of rows: each waits for its own lanes.
  const unsigned mask = 0xffffU << (threadIdx.x % warpSize / kRowLanes * kRowLanes);
  for (int64_t row = group.index; row < work.rows; row += group.count) {
    const T square = join_lanes(square_of_lane(work, row, group.lane), mask);
    if (is_refused(work, square)) {
      if (group.lane == 0) atomicMin(reinterpret_cast<long long*>(work.refused), static_cast<long long>(row));
      continue;
    }
    const LearningRow<V> learning = learning_row(work, row, square);
    T rate{};
    if (group.lane == 0) {
      rate = row_rate(work.step, learning, work.dim);
      touch_row(work, row);
    }
    rate = __shfl_sync(mask, rate, 0, kRowLanes);
    update_columns(work.step, learning, rate, work.dim, {group.lane, kRowLanes});
  }
}

template <typename V>
__global__ void __launch_bounds__(kBlockThreads) count_kernel(RowCounts<V> work) {
  tell_counts(work, this_worker(), all_workers());
}

template <typename V>
__global__ void __launch_bounds__(kBlockThreads) initial_kernel(InitialRows<V> work) {
  initialise_rows(work, this_group());
}

__global__ void __launch_bounds__(kBlockThreads) record_kernel(RecordCopies work) { copy_records(work, this_group()); }

CudaStatus launched() { return cudaGetLastError(); }

/// Bits of keys in [0, limit).
int key_bits(int64_t limit) {
  int bits = 1;
  while (bits < 63 && (limit - 1) >> bits != 0) ++bits;
  return bits;
}

}  // namespace

template <typename V>
CudaStatus launch(const Lookup<V>& work, CudaStream stream) {
  lookup_kernel<V><<<blocks_for(work.rows * kRowLanes), kBlockThreads, 0, stream>>>(work);
  return launched();
}

template <typename T>
CudaStatus launch(const SegmentSums<T>& work, CudaStream stream) {
  segment_sum_kernel<T><<<blocks_for(work.sums * kRowLanes), kBlockThreads, 0, stream>>>(work);
  return launched();
}

CudaStatus launch(const SegmentStarts& work, CudaStream stream) {
  segment_start_kernel<<<blocks_for(work.targets + 1), kBlockThreads, 0, stream>>>(work);
  return launched();
}

template <typename T>
CudaStatus launch(const EntrySources<T>& work, CudaStream stream) {
  entry_source_kernel<T><<<blocks_for(work.count), kBlockThreads, 0, stream>>>(work);
  return launched();
}

template <typename V>
CudaStatus launch(const RowUpdates<V>& work, CudaStream stream) {
  update_kernel<V><<<blocks_for(work.rows * kRowLanes), kBlockThreads, 0, stream>>>(work);
  return launched();
}

template <typename V>
CudaStatus launch(const RowCounts<V>& work, CudaStream stream) {
  count_kernel<V><<<blocks_for(work.rows), kBlockThreads, 0, stream>>>(work);
  return launched();
}

template <typename V>
CudaStatus launch(const InitialRows<V>& work, CudaStream stream) {
  initial_kernel<V><<<blocks_for(work.rows * kRowLanes), kBlockThreads, 0, stream>>>(work);
  return launched();
}

CudaStatus launch(const RecordCopies& work, CudaStream stream) {
  record_kernel<<<blocks_for(work.rows * kRowLanes), kBlockThreads, 0, stream>>>(work);
  return launched();
}

size_t scratch_bytes_of(int64_t count, int64_t limit) {
  size_t bytes = 0;
  cub::DeviceRadixSort::SortPairs(nullptr, bytes, static_cast<const int64_t*>(nullptr), static_cast<int64_t*>(nullptr),
                                  static_cast<const int64_t*>(nullptr), static_cast<int64_t*>(nullptr), count, 0,
                                  key_bits(limit));
  return bytes;
}

CudaStatus launch(const EntrySort& work, CudaStream stream) {
  size_t bytes = work.scratch_bytes;
  return cub::DeviceRadixSort::SortPairs(work.scratch, bytes, work.targets, work.sorted_targets, work.entries,
                                         work.sorted_entries, work.count, 0, key_bits(work.limit), stream);
}

template CudaStatus launch(const Lookup<float>&, CudaStream);
template CudaStatus launch(const Lookup<double>&, CudaStream);
template CudaStatus launch(const Lookup<Float16>&, CudaStream);
template CudaStatus launch(const Lookup<BFloat16>&, CudaStream);
template CudaStatus launch(const SegmentSums<float>&, CudaStream);
template CudaStatus launch(const SegmentSums<double>&, CudaStream);
template CudaStatus launch(const EntrySources<float>&, CudaStream);
template CudaStatus launch(const EntrySources<double>&, CudaStream);
template CudaStatus launch(const RowUpdates<float>&, CudaStream);
template CudaStatus launch(const RowUpdates<double>&, CudaStream);
template CudaStatus launch(const RowUpdates<Float16>&, CudaStream);
template CudaStatus launch(const RowUpdates<BFloat16>&, CudaStream);

template CudaStatus launch(const RowCounts<float>&, CudaStream);
template CudaStatus launch(const RowCounts<double>&, CudaStream);
template CudaStatus launch(const RowCounts<Float16>&, CudaStream);
template CudaStatus launch(const RowCounts<BFloat16>&, CudaStream);
template CudaStatus launch(const InitialRows<float>&, CudaStream);
template CudaStatus launch(const InitialRows<double>&, CudaStream);
template CudaStatus launch(const InitialRows<Float16>&, CudaStream);
template CudaStatus launch(const InitialRows<BFloat16>&, CudaStream);

}  // namespace rondo
