// The row kernels on a device, against the loops of the processor, bit for bit. Skipped where there is none.
#include "sharding/embedding/row_device.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "sharding/handle/cuda_device.h"
#include "tests/sharding/embedding/row_records.h"

namespace rondo {
namespace {

/// Device memory for a test: what it holds is copied there, and back when asked.
class Device {
 public:
  Device() : cuda_(cuda_library()), stream_(make_stream(cuda_)) {}

  CudaStream stream() const { return stream_.get(); }

  template <typename T>
  T* put(const std::vector<T>& values) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
    memory_.push_back(allocate_device(cuda_, std::max<int64_t>(bytes, 1)));
    copy(memory_.back().get(), values.data(), static_cast<size_t>(bytes));
    return static_cast<T*>(memory_.back().get());
  }

  template <typename T>
  void get(std::vector<T>& values, const void* from) {
    copy(values.data(), from, values.size() * sizeof(T));
    finish();
  }

  /// Throws PeerError for what a kernel has done wrong.
  void finish() {
    const CudaEventHandle event = make_event(cuda_);
    check_cuda(cuda_, cuda_.event_record(event.get(), stream()), "cudaEventRecord");
    CudaStatus status = kCudaNotReady;
    while (status == kCudaNotReady) {
      status = cuda_.event_query(event.get());
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
    check_cuda(cuda_, status, "a kernel");
  }

 private:
  void copy(void* to, const void* from, size_t bytes) {
    check_cuda(cuda_, cuda_.memcpy_async(to, from, bytes, stream()), "cudaMemcpyAsync");
  }

  CudaApi cuda_;
  CudaStreamHandle stream_;
  std::vector<DeviceMemoryHandle> memory_;
};

template <typename V>
class RowDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const VisibleDevices devices = visible_devices(cuda_library());
    if (devices.count == 0) GTEST_SKIP() << devices.why;
  }

  /// The records on the device: their blocks, then the list of them.
  static RowRecords<V> put(Device& device, Records<V>& records, std::vector<std::byte*>& blocks) {
    blocks.clear();
    for (const auto& block : records.memory()) blocks.push_back(reinterpret_cast<std::byte*>(device.put(block)));
    RowRecords<V> table = records.table();
    table.blocks = device.put(blocks);
    return table;
  }
};
using ValueTypes = ::testing::Types<float, double, Float16, BFloat16>;
TYPED_TEST_SUITE(RowDeviceTest, ValueTypes);

TYPED_TEST(RowDeviceTest, UpdatesAreThoseOfTheProcessor) {
  using V = TypeParam;
  const FiveRows<V> rows;
  for (const int64_t dim : kDims) {
    for (const RowOptimizerKind kind : kKinds) {
      Device device;
      Records<V> there(10, dim, state_width(kind, dim)), here(10, dim, state_width(kind, dim));
      std::vector<std::byte*> blocks;
      const RowRecords<V> table = this->put(device, there, blocks);
      for (int64_t step = 1; step <= 3; ++step) {
        const auto gradients = numbers<ComputeType<V>>(5 * dim, static_cast<uint64_t>(step));
        RowUpdates<V> work = rows.step(here.table(), kind, dim, step);
        work.gradients = gradients.data();
        update_as_loops(work);
        work.table = table;
        work.slots = device.put(rows.slots);
        work.keys = device.put(rows.keys);
        work.occurrences = device.put(rows.occurrences);
        work.gradients = device.put(gradients);
        ASSERT_EQ(launch(work, device.stream()), kCudaSuccess);
        device.finish();  // the vectors that were copied end here
      }
      for (size_t b = 0; b < blocks.size(); ++b) device.get(there.memory()[b], blocks[b]);
      EXPECT_TRUE(there == here) << "optimizer " << static_cast<int>(kind) << ", dim " << dim;
    }
  }
}

TYPED_TEST(RowDeviceTest, LookupCopiesEveryRow) {
  using V = TypeParam;
  using T = ComputeType<V>;
  const std::vector<int64_t> slots{9, 0, 3, 4, 9, 7};
  for (const int64_t dim : kDims) {
    Device device;
    Records<V> records(10, dim, 0);
    std::vector<std::byte*> blocks;
    std::vector<T> out(slots.size() * static_cast<size_t>(dim));
    Lookup<V> work{this->put(device, records, blocks), device.put(slots), static_cast<int64_t>(slots.size()), dim,
                   device.put(out)};
    ASSERT_EQ(launch(work, device.stream()), kCudaSuccess);
    device.get(out, work.out);
    for (size_t i = 0; i < out.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      ASSERT_EQ(out[i], widen(records.values(slots[static_cast<size_t>(at / dim)])[at % dim])) << dim;
    }
  }
}

/// Coalescing as a step makes it: sort, starts, sources, sums; against adding entry by entry.
TYPED_TEST(RowDeviceTest, SortedSegmentsAddInTheOrderOfTheEntries) {
  using T = ComputeType<TypeParam>;
  constexpr int64_t kEntries = 5'000, kRows = 97, kDim = 70;
  std::vector<int64_t> targets, entries(kEntries), offsets{0, 7, 7, 3'000, kEntries};
  std::iota(entries.begin(), entries.end(), 0);
  for (int64_t i = 0; i < kEntries; ++i) targets.push_back(i * i % kRows);
  const auto gradient = numbers<T>(4 * kDim, 8), weights = numbers<T>(kEntries, 9);
  std::vector<T> expected(kRows * kDim, T{0}), out(kRows * kDim, T{-9});
  for (int64_t bag = 0; bag < 4; ++bag) {
    for (int64_t i = offsets[static_cast<size_t>(bag)]; i < offsets[static_cast<size_t>(bag) + 1]; ++i) {
      const auto entry = static_cast<size_t>(i);
      for (int64_t c = 0; c < kDim; ++c) {
        T& sum = expected[static_cast<size_t>(targets[entry] * kDim + c)];
        sum = std::fma(weights[entry], gradient[static_cast<size_t>(bag * kDim + c)], sum);
      }
    }
  }
  Device device;
  const size_t scratch = scratch_bytes_of(kEntries, kRows);
  const std::vector<int64_t> starts(kRows + 1);
  const EntrySort sort{device.put(targets),
                       kEntries,
                       kRows,
                       device.put(entries),
                       device.put(targets),
                       device.put(entries),
                       device.put(std::vector<std::byte>(scratch)),
                       scratch};
  const SegmentStarts find{sort.sorted_targets, kEntries, kRows, device.put(starts)};
  const EntrySources<T> sources{sort.sorted_entries, device.put(offsets), device.put(weights), kEntries, 4,
                                device.put(entries), device.put(weights)};
  const SegmentSums<T> sums{device.put(gradient), find.starts, sources.bag_of, sources.sorted_weights, kRows, kDim,
                            device.put(out)};
  ASSERT_EQ(launch(sort, device.stream()), kCudaSuccess);
  ASSERT_EQ(launch(find, device.stream()), kCudaSuccess);
  ASSERT_EQ(launch(sources, device.stream()), kCudaSuccess);
  ASSERT_EQ(launch(sums, device.stream()), kCudaSuccess);
  device.get(out, sums.out);
  EXPECT_EQ(out, expected);
}

}  // namespace
}  // namespace rondo
