#include "tests/support/fake_row_kernels.h"

#include <algorithm>

namespace rondo::testing {
namespace {

/// A launch of an awkward size, its threads in reverse: no thread may need another to have gone before.
constexpr int64_t kBlocks = 3;
constexpr int64_t kBlockThreads = 96;

template <typename Share>
void for_each_group_lane(const Share& share) {
  for (int64_t block = kBlocks; block-- > 0;) {
    for (int64_t thread = kBlockThreads; thread-- > 0;) share(lane_group(block, kBlocks, thread, kBlockThreads));
  }
}

template <typename Share>
void for_each_worker(const Share& share) {
  for (int64_t worker = kBlocks * kBlockThreads; worker-- > 0;) share(worker, kBlocks * kBlockThreads);
}

/// What a kernel touches, for the machine.
class Touches {
 public:
  Touches(FakeMachine& machine, FakeStream& stream) : machine_(machine), stream_(stream) {}

  template <typename T>
  void reads(const T* from, int64_t count) {
    if (from != nullptr) machine_.touch(stream_, from, static_cast<size_t>(count) * sizeof(T), /*writes=*/false);
  }
  template <typename T>
  void writes(T* to, int64_t count) {
    if (to != nullptr) machine_.touch(stream_, to, static_cast<size_t>(count) * sizeof(T), /*writes=*/true);
  }
  template <typename V>
  void records(const RowRecords<V>& table, const int64_t* slots, int64_t rows, bool write) {
    reads(slots, rows);
    const int64_t last = rows == 0 ? -1 : *std::max_element(slots, slots + rows);
    if (last >= 0) reads(table.blocks, (last >> table.shift) + 1);
    for (int64_t row = 0; row < rows; ++row) {
      if (slots[row] < 0) continue;
      std::byte* const record = table.record(slots[row]);
      write ? writes(record, table.record_bytes) : reads(record, table.record_bytes);
    }
  }

 private:
  FakeMachine& machine_;
  FakeStream& stream_;
};

template <typename V>
void touch(const Lookup<V>& work, Touches touches) {
  touches.records(work.table, work.slots, work.rows, /*write=*/false);
  touches.writes(work.out, work.rows * work.dim);
}

template <typename V>
void run(const Lookup<V>& work) {
  for_each_group_lane([&](LaneGroup group) { lookup_rows(work, group); });
}

template <typename T>
void touch(const SegmentSums<T>& work, Touches touches) {
  touches.reads(work.starts, work.sums + 1);
  touches.reads(work.positions, work.starts[work.sums]);
  touches.reads(work.weights, work.starts[work.sums]);
  const int64_t stride = work.stride > 0 ? work.stride : work.dim;
  for (int64_t i = 0; i < work.starts[work.sums]; ++i) touches.reads(work.rows + work.positions[i] * stride, work.dim);
  touches.writes(work.out, work.sums * work.dim);
}

template <typename T>
void run(const SegmentSums<T>& work) {
  for_each_group_lane([&](LaneGroup group) { sum_segments(work, group); });
}

template <typename V>
void touch(const RowUpdates<V>& work, Touches touches) {
  touches.records(work.table, work.slots, work.rows, /*write=*/true);
  touches.reads(work.keys, work.rows);
  touches.reads(work.occurrences, work.rows);
  touches.reads(work.gradients, work.rows * work.dim);
  touches.writes(work.refused, 1);
}

/// The steps of update_kernel: each lane's partial sum, their join, the rate, each lane's columns.
template <typename V>
void run(const RowUpdates<V>& work) {
  for (int64_t row = work.rows; row-- > 0;) {
    ComputeType<V> sums[kRowLanes];
    for (int64_t lane = 0; lane < kRowLanes; ++lane) sums[lane] = square_of_lane(work, row, lane);
    const ComputeType<V> square = join_partial_sums(sums);
    if (is_refused(work, square)) {
      *work.refused = std::min(*work.refused, row);
      continue;
    }
    const LearningRow<V> learning = learning_row(work, row, square);
    const auto rate = row_rate(work.step, learning, work.dim);
    touch_row(work, row);
    for (int64_t lane = kRowLanes; lane-- > 0;) {
      update_columns(work.step, learning, rate, work.dim, {lane, kRowLanes});
    }
  }
}

template <typename V>
void touch(const RowCounts<V>& work, Touches touches) {
  touches.records(work.table, work.slots, work.rows, /*write=*/false);
  for (int64_t row = 0; row < work.rows; ++row) {
    touches.writes(work.out + row * work.out_stride, static_cast<int64_t>(sizeof(float)));
  }
}

template <typename V>
void run(const RowCounts<V>& work) {
  for_each_worker([&](int64_t worker, int64_t workers) { tell_counts(work, worker, workers); });
}

template <typename V>
void touch(const InitialRows<V>& work, Touches touches) {
  touches.records(work.table, work.slots, work.rows, /*write=*/true);
  touches.reads(work.keys, work.rows);
}

template <typename V>
void run(const InitialRows<V>& work) {
  for_each_group_lane([&](LaneGroup group) { initialise_rows(work, group); });
}

void touch(const RecordCopies& work, Touches touches) {
  touches.records(work.table, work.slots, work.rows, work.into_table);
  const int64_t bytes = work.rows * work.table.record_bytes;
  work.into_table ? touches.reads(work.packed, bytes) : touches.writes(work.packed, bytes);
}

void run(const RecordCopies& work) {
  for_each_group_lane([&](LaneGroup group) { copy_records(work, group); });
}

}  // namespace

RowLaunches fake_row_kernels(FakeMachine& machine, int device) {
  return RowLaunches::of([&machine, device](const auto& work, CudaStream handle) {
    FakeLock lock(machine.mutex());
    machine.check_thread(device);
    FakeStream& stream = machine.stream_of(handle, device);
    machine.enqueue(lock, stream, "a row kernel", [&machine, work](FakeStream& running) {
      touch(work, Touches(machine, running));
      run(work);
      return true;
    });
    return kCudaSuccess;
  });
}

}  // namespace rondo::testing
