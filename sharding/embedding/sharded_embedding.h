#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/embedding_device.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/embedding/row_store.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

struct ShardedEmbeddingOptions {
  /// The gradients of all rows of a step, of all tables and ranks together, are scaled down to this norm; 0: never.
  /// What a table's own `clip_norm` takes off is taken off before.
  double clip_norm = 0.0;

  /// Where the rows are; null: in host memory. Then what `lookup` returns is on the device, too, and so are the
  /// gradients that `learn` takes. Not for placement column_wise, hot rows, sums at the owners and `clip_norm`.
  const EmbeddingDevice* device = nullptr;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const ShardedEmbeddingOptions& options);

/// What comes back for a batch.
struct EmbeddedBatch {
  std::vector<TableRows> tables;
  std::vector<at::Tensor> bags;  // [batch, dim] of each pooled feature; autograd leaves when routed for training
};

/// All embedding tables of a model, spread over the ranks (DESIGN 4, steps 1 to 6, all tables in one exchange).
///
/// Every call is collective: every rank, same order, also with zero ids. The numbers do not depend on the world or on
/// the placement, but for the order of summation.
class ShardedEmbedding {
 public:
  /// Throws ConfigError for options, a spec or a placement that cannot be (`validate`, `validate_placement`), and on
  /// every rank when two ranks were given different tables.
  ShardedEmbedding(std::vector<TableSpec> tables, uint64_t seed, Communicator& comm,
                   ShardedEmbeddingOptions options = {});
  ~ShardedEmbedding();

  int64_t tables() const;

  /// As given, with the owner that the plan chose where it said any.
  const TableSpec& spec(int64_t table) const;

  /// The rank whose store holds `key` (row-wise, table-wise), or this rank (replicated, column-wise).
  int owner(int64_t table, uint64_t key) const;

  /// Rows that this rank holds of a table, and the rows of its buckets for a checkpoint, hot ones included; `columns`
  /// of them. Buckets that were written under any placement come in by import_buckets, each once; rows that this rank
  /// does not hold are passed over if `wants` says so for their buckets. Memory beside the rows given is bounded.
  int64_t rows(int64_t table) const;
  BucketRange buckets(int64_t table) const;
  ColumnRange columns(int64_t table) const;
  bool wants(int64_t table, BucketRange range) const;
  BucketRangeRows export_buckets(int64_t table, BucketRange range) const;
  void import_buckets(int64_t table, const BucketRangeRows& rows);

  /// The store of this rank's rows, without the hot ones.
  RowStore& store(int64_t table);
  const RowStore& store(int64_t table) const;

  /// Steps 1 to 3: distinct ids, owners, counts and ids to owners. `ids` has one entry a table; every rank names the
  /// same pooled features in the same order. Throws ConfigError for a table that there is not, DataError naming table,
  /// feature, value and rank for a dense key outside the table. The second form keeps the memory of an earlier batch.
  RoutedIds route(std::span<const TableIds> ids, LookupMode mode, std::span<const PooledFeature> pooled = {});
  void route(std::span<const TableIds> ids, LookupMode mode, std::span<const PooledFeature> pooled, RoutedIds& routed);

  /// The same in three parts, between which the stages of the batch before come (DESIGN 4): ids asked and counts under
  /// way; ids under way; rows made for new keys. One batch at a time; whole routings may come between as well. `routed`
  /// must stay where it is until finish. Left unfinished on all ranks, it is given up.
  void begin_route(std::span<const TableIds> ids, LookupMode mode, std::span<const PooledFeature> pooled,
                   RoutedIds& routed);
  void advance_route();
  void finish_route();

  /// Steps 4 and 5: rows back, bags of pooled features. `step` is the step about to be made (counts are decayed to
  /// it). Does not change the stores but for new rows.
  EmbeddedBatch lookup(const RoutedIds& routed, int64_t step);

  /// Step 6: gradients of the leaves of `batch` (undefined: zeros) to the owners, which add by source rank and update.
  /// Gradients are parts of the global mean already (DESIGN 3). Throws DataError as RowStore::update does, for all
  /// ranks when the norm of all is clipped.
  void learn(const RoutedIds& routed, const EmbeddedBatch& batch, int64_t step, double learning_rate_factor);

  /// The same for a batch without pooled features.
  std::vector<TableRows> forward(const RoutedIds& routed, int64_t step);
  void backward(const RoutedIds& routed, std::span<const TableRows> rows, int64_t step, double learning_rate_factor);

  /// Bytes this rank sent to others so far, by kind (counts of ids left out).
  struct Traffic {
    int64_t id_bytes = 0;            // keys with their occurrences
    int64_t bag_entry_bytes = 0;     // partial sums: which rows are in which bag
    int64_t row_bytes = 0;           // rows with their counts
    int64_t bag_bytes = 0;           // partial sums
    int64_t gradient_bytes = 0;      // of rows
    int64_t bag_gradient_bytes = 0;  // partial sums
    int64_t square_bytes = 0;        // column-wise: squared gradients of parts of rows
  };
  Traffic traffic() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rondo
