#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sharding/embedding/embedding_device.h"
#include "sharding/embedding/key_index.h"
#include "sharding/embedding/row_blocks.h"
#include "sharding/embedding/row_store.h"

namespace rondo {

std::vector<int64_t> slots_of(std::span<const KeySlot> entries);

/// REQUIRES: [rows, columns] of `type`, contiguous.
void check_matrix(const at::Tensor& values, int64_t rows, int64_t columns, at::ScalarType type);

/// Memory of the rows of a RowStore on a device, and the kernels on it; record for record as RowBlocks keeps them.
///
/// Tensors are on the device. Nothing here waits for the device but `read` and `write`; lists live in the round of the
/// staging. A gradient without a finite norm leaves its row as it is and is reported by a later call, once the device
/// has said so.
class DeviceRows {
 public:
  /// Of whole rows. `staging` outlives this.
  DeviceRows(DeviceStaging& staging, const TableSpec& spec, uint64_t table_seed, int64_t expected_rows);

  void allocate(int64_t slot);
  int64_t memory_bytes() const { return static_cast<int64_t>(blocks_.size()) * (layout_.record_bytes << shift_); }

  /// REQUIRES: allocated.
  void initialise(std::span<const KeySlot> fresh);

  /// As RowStore::gather.
  void gather(std::span<const int64_t> slots, at::Tensor& values);

  /// A float at the start of each row of `out` [n, any]: the count decayed to `step`, or kUntrainedCount.
  void tell_counts(std::span<const int64_t> slots, int64_t step, const at::Tensor& out);

  /// As RowStore::update, for gradients of whole rows without `gradient_factor`.
  void update(const RowUpdate& update);

  /// Throws DataError for a gradient that an update before refused, if the device has said so.
  void report_refused();

  /// Whole records, packed.
  std::vector<std::byte> read(std::span<const int64_t> slots);
  void write(std::span<const int64_t> slots, std::span<const std::byte> records);

 private:
  /// The last update, until it is known that all its rows have learned.
  struct Pending {
    std::vector<uint64_t> keys;
    int64_t step = 0;
    int rank = 0;
  };

  template <typename V>
  RowRecords<V> table();
  template <typename V>
  void update_as(const RowUpdate& update);
  void move(std::span<const int64_t> slots, std::byte* packed, bool into_table);

  DeviceStaging& staging_;
  TableSpec spec_;
  uint64_t table_seed_;
  RowLayout layout_;
  int shift_;  // log2 of the records of a block
  std::vector<DeviceMemoryHandle> blocks_;
  std::vector<std::byte*> addresses_;  // of the blocks
  DeviceMemoryHandle refused_;         // the first row of an update that did not learn
  PinnedMemoryHandle refused_here_;
  CudaEventHandle told_;
  std::optional<Pending> pending_;
};

}  // namespace rondo
