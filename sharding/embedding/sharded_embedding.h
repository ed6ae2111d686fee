#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/row_store.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

/// The ids of one table in this rank's share of a batch: those of all its features, one after the other.
struct TableIds {
  at::Tensor keys;      // int64 [n] (the bits of uint64 row keys); n may be 0
  int64_t counted = 0;  // the first `counted` of them enter the popularity count (targets do, history does not)
};

enum class LookupMode : uint8_t {
  kTrain,     ///< a key without a row gets one
  kEvaluate,  ///< a key without a row reads as zeros, untrained; no row is made
};

/// Where the ids of a batch go and how their rows come back. Made by ShardedEmbedding::route, opaque to others but for
/// `positions`.
struct RoutedTable {
  int64_t distinct = 0;
  at::Tensor positions;               // int64 [n]: ids[i] is row positions[i] of the rows that come back
  std::vector<int64_t> occurrences;   // [distinct], counted ids of this rank
  std::vector<uint64_t> keys;         // [distinct], grouped by owner
  std::vector<int64_t> send_rows;     // [world], distinct ids to each owner
  std::vector<int64_t> receive_rows;  // [world], ids asked of this rank by each
  std::vector<int64_t> slots;         // [sum(receive_rows)] in this rank's store, -1: no row

  // Training only: the distinct rows of this rank that are asked for, in the order of (rank, position).
  std::vector<int64_t> updated;              // [u], slots
  std::vector<uint64_t> updated_keys;        // [u]
  std::vector<int64_t> updated_occurrences;  // [u], counted ids of the global batch
  std::vector<int64_t> update_of;            // [sum(receive_rows)], place in `updated`; empty if one rank alone asks
};
struct RoutedIds {
  LookupMode mode = LookupMode::kTrain;
  std::vector<RoutedTable> tables;
};

/// The rows of a batch, one entry a table.
struct TableRows {
  at::Tensor values;   // [distinct, dim], fp32 (fp64 of fp64 rows); the autograd leaf when routed for training
  at::Tensor counts;   // float32 [distinct]: decayed popularity count before this step
  at::Tensor trained;  // bool [distinct]: was the row ever updated
};

struct ShardedEmbeddingOptions {
  /// The gradients of all rows of a step, of all tables and ranks together, are scaled down to this norm; 0: never.
  /// What a table's own `clip_norm` takes off is taken off before.
  double clip_norm = 0.0;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const ShardedEmbeddingOptions& options);

/// All embedding tables of a model, spread over the ranks (DESIGN 4, steps 1 to 6, all tables in one exchange).
///
/// Every call is collective: every rank, same order, also with zero ids. The numbers do not depend on the world, but
/// for the order of summation.
class ShardedEmbedding {
 public:
  /// Throws ConfigError for options, a spec or a placement that cannot be (`validate`, `validate_placement`).
  ShardedEmbedding(std::vector<TableSpec> tables, uint64_t seed, Communicator& comm,
                   ShardedEmbeddingOptions options = {});
  ~ShardedEmbedding();

  int64_t tables() const;

  /// As given, with the owner that the plan chose where it said any.
  const TableSpec& spec(int64_t table) const;

  /// The rank whose store holds `key` (row-wise, table-wise), or this rank (replicated).
  int owner(int64_t table, uint64_t key) const;

  RowStore& store(int64_t table);
  const RowStore& store(int64_t table) const;

  /// Steps 1 to 3: distinct ids, owners, counts and ids to owners. `ids` has one entry a table.
  /// Throws DataError naming table and value for a dense key outside the table.
  RoutedIds route(std::span<const TableIds> ids, LookupMode mode);

  /// Step 4: rows back. `step` is the step about to be made (counts are decayed to it). Does not change the stores but
  /// for new rows.
  std::vector<TableRows> forward(const RoutedIds& routed, int64_t step);

  /// Step 6: gradients of `rows[t].values` (undefined: zeros) to the owners, which add by source rank and update.
  /// `global_batch`, the examples of the step over all ranks, scales nothing here: gradients are already parts of the
  /// global mean (DESIGN 3). Throws DataError as RowStore::update does, for all ranks when the norm of all is clipped.
  void backward(const RoutedIds& routed, std::span<const TableRows> rows, int64_t step, double learning_rate_factor);

  /// Bytes this rank sent to others so far, by kind (counts of ids left out).
  struct Traffic {
    int64_t id_bytes = 0;
    int64_t row_bytes = 0;
    int64_t gradient_bytes = 0;
  };
  Traffic traffic() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rondo
