#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sharding/plan/shard.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

class DeviceRows;
class DeviceStaging;

/// What all rows of one bucket are, for a checkpoint: entry i of every array is one row, in ascending key order.
/// Of a store that holds some of the columns, those columns.
struct BucketRows {
  std::vector<uint64_t> keys;
  at::Tensor values;              // [rows, columns], the table's row type
  at::Tensor state;               // [rows, state_width], fp32 (fp64 of fp64 rows)
  std::vector<float> counts;      // [rows], decayed to `versions`
  std::vector<int64_t> versions;  // [rows], last step that updated the row; 0: never
};

/// The same for neighbouring buckets, one after the other: bucket range.first + b has rows [offsets[b], offsets[b +
/// 1]).
struct BucketRangeRows {
  BucketRange range;
  std::vector<int64_t> offsets;  // [range.last - range.first + 1]
  BucketRows rows;
};

/// What the sum over ranks did to one row in a step.
struct RowUpdate {
  std::span<const int64_t> slots;        // [n], distinct
  at::Tensor gradients;                  // [n, columns], summed over the global batch; or `gradient_rows`
  std::span<const int64_t> occurrences;  // [n], counted ids of the global batch (ShardedEmbedding: `counted`)
  int64_t step = 0;                      // from 1
  double learning_rate_factor = 1.0;     // of the schedule
  double gradient_factor = 1.0;          // of clipping by the norm of all rows, in [0, 1]; after clipping by row
  std::span<const uint64_t> keys = {};  // [n]; rows of 16 bits need them: they are rounded by (seed, step, key, column)
  int rank = 0;                         // for messages

  /// [n], instead of `gradients`: where the gradient of each row lies, [columns] of the gradients' type, and in
  /// `squares`, [n] of that type, what sums_of_squares makes of them.
  std::span<const void* const> gradient_rows = {};
  const void* squares = nullptr;

  /// [n] of the gradients' type: mean over all columns of the row of the squared gradient, for a store that holds only
  /// some of them and an optimizer that takes them (takes_mean_squares). Null: of the gradients.
  const void* mean_squares = nullptr;
};

/// The rows of one table that one rank owns: the buckets of a range, and all of their columns or some. Batch calls
/// only. "columns" below is the number of columns that the store holds.
///
/// Memory: values, state and metadata in blocks, growth without copying. Results do not depend on the number of
/// threads. One caller at a time. Slots stay valid for the life of the store.
class RowStore {
 public:
  /// Initial rows are a pure function of (seed, table name, key). Throws ConfigError by `validate(spec)`.
  /// With `staging` the rows are on its device: tensors are too, updates are of whole rows and summed over all ranks,
  /// and `addresses`, `fetch`, `statistics` and `norm_square` are not for them; `assign` waits for the device.
  RowStore(const TableSpec& spec, BucketRange range, ColumnRange columns, uint64_t seed,
           DeviceStaging* staging = nullptr);

  /// Of whole rows.
  RowStore(const TableSpec& spec, BucketRange range, uint64_t seed) : RowStore(spec, range, {0, spec.dim}, seed) {}
  ~RowStore();
  RowStore(RowStore&&) noexcept;

  const TableSpec& spec() const;  // of the whole table
  BucketRange range() const;
  ColumnRange columns() const;
  int64_t rows() const;
  int64_t memory_bytes() const;  // of blocks and index, as allocated

  /// slots[i] of keys[i]; a key without a row gets one. REQUIRES: every key's bucket is in range().
  /// Dense tables: throws DataError naming table, key and rows for a key outside [0, rows).
  void find_or_create(std::span<const uint64_t> keys, std::span<int64_t> slots);

  /// The rows on a device; null: they are in host memory.
  DeviceRows* device() const;

  /// The same without making rows: -1 where there is none. Evaluation and serving.
  void find(std::span<const uint64_t> keys, std::span<int64_t> slots) const;

  /// values[i] <- row of slots[i], zeros for slot -1. `values` is [n, columns] of the row type, or of a type that
  /// number_copy (exchange/wire_codec.h) makes of it.
  void gather(std::span<const int64_t> slots, at::Tensor& values) const;

  /// Where the values of each slot lie, [columns] of the row type; they never move. `absent` for slot -1.
  void addresses(std::span<const int64_t> slots, const void* absent, std::span<const void*> values) const;

  /// Starts to bring rows to the second cache, for a few hundred that are about to be updated.
  void fetch(std::span<const int64_t> slots) const;

  /// p[i] <- count decayed to `step`, 0 for slot -1; trained[i] <- 1 if ever updated.
  void statistics(std::span<const int64_t> slots, int64_t step, std::span<float> counts,
                  std::span<uint8_t> trained) const;

  /// One fused optimizer step on the rows of `update` (DESIGN 4; exact: a row at most once).
  /// Throws DataError naming table, key, column, step and rank for a gradient that is NaN, infinite, or so large that
  /// its square is (`check_finite`). That row is as it was; others of the update may have learned.
  /// Updates of distinct rows may run at the same time.
  void update(const RowUpdate& update);

  /// Sum of the squares of `update.gradients`, each row clipped by `clip_norm`; what is not finite makes it so.
  double norm_square(const RowUpdate& update) const;

  /// Overwrites rows and marks them updated at `step`. `values` is [n, columns], of a type as for `gather`, rounded to
  /// nearest; slots distinct.
  void assign(std::span<const int64_t> slots, const at::Tensor& values, int64_t step);

  BucketRows export_bucket(int64_t bucket) const;
  BucketRangeRows export_buckets(BucketRange range) const;

  /// REQUIRES: no row of these buckets yet. Rows that were untouched since a restart compare bit for bit.
  void import_bucket(int64_t bucket, const BucketRows& rows);
  void import_buckets(const BucketRangeRows& buckets);

  /// The same for rows of any buckets. REQUIRES: none of the keys has a row.
  void import_rows(const BucketRows& rows);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rondo
