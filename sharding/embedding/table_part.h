#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/embedding/row_store.h"
#include "sharding/plan/key_placement.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

/// Who holds a row of a part.
enum class Holders : uint8_t {
  kOne,      ///< one rank a key
  kColumns,  ///< the ranks of TablePart::columns_of, equal ranges of columns each
  kAll,      ///< every rank
};

/// Rows of one table that are found, moved and updated in one way, with those of them that this rank holds.
struct TablePart {
  size_t table;
  Holders holders;
  KeyPlacement placement;
  std::vector<int> columns_of;  // kColumns: by columns
  RowStore store;

  /// Columns of one holder.
  int64_t width() const {
    return holders == Holders::kColumns ? spec().dim / static_cast<int64_t>(columns_of.size()) : spec().dim;
  }

  /// First column that `rank` holds; -1: it holds none.
  int64_t first_column(int rank) const;

  const TableSpec& spec() const { return store.spec(); }
  bool learns() const { return spec().optimizer.kind != RowOptimizerKind::kNone; }

  /// Are bags of this part summed by who holds its rows?
  bool sums_partially() const { return holders != Holders::kAll && spec().way_home == WayHome::kSums; }

  /// Place of the first home row of `rank` among the table's.
  int64_t first_home(const RoutedPart& routed, int rank) const;
};

/// A table as one rank holds it: one part, or the hot rows as a second one.
struct EmbeddingTable {
  TableSpec spec;  // with its owner
  std::vector<TablePart> parts;

  bool is_hot(uint64_t key) const { return parts.size() > 1 && std::ranges::binary_search(spec.hot_keys, key); }

  /// Rows of the buckets that this rank holds: a hot row counts for the rank that holds its bucket.
  int64_t rows() const;

  /// As RowStore's, with the hot rows of these buckets. REQUIRES: buckets that this rank holds.
  BucketRangeRows export_buckets(BucketRange range) const;

  /// Takes what this rank holds: all rows of buckets that it holds, of others the hot ones. Each bucket once.
  void import_buckets(const BucketRangeRows& buckets);

  /// Has this rank a row in these buckets to import?
  bool wants(BucketRange range) const;

 private:
  BucketRows hot_rows(BucketRange range) const;
};

/// REQUIRES: a spec that is valid for `world`, with its owner. With `staging` the rows are on its device.
EmbeddingTable make_table(const TableSpec& spec, size_t table, uint64_t seed, const Communicator& comm,
                          DeviceStaging* staging);

/// Type of rows, bags and gradients where they are computed with: of the leaves.
at::ScalarType scalar_type(const TableSpec& spec);

int64_t sum_before(std::span<const int64_t> counts, int rank);

}  // namespace rondo
