#pragma once

#include <cstdint>
#include <vector>

#include "sharding/plan/table_spec.h"

namespace rondo {

/// Columns [first, last) of every row of a table.
struct ColumnRange {
  int64_t first = 0;
  int64_t last = 0;

  int64_t count() const { return last - first; }
};

/// What of a table one rank holds.
struct Shard {
  BucketRange buckets;
  ColumnRange columns;

  bool empty() const { return buckets.first == buckets.last || columns.count() == 0; }
};

/// All of a table.
Shard whole_table(const TableSpec& spec);

/// Throws ConfigError naming the table, the field, its value and what would do, for a placement that `world` ranks
/// cannot carry out: an owner outside the world, more column ranges than ranks, a dim that they do not divide.
void validate_placement(const TableSpec& spec, int world);

/// The ranks that hold a column-wise table, in the order of their columns; their ranges have equal widths.
/// REQUIRES: validate_placement, an assigned owner.
std::vector<int> column_owners(const TableSpec& spec, int world);

/// What `rank` holds: of a replicated table all of it. REQUIRES: as above.
Shard shard_of_rank(const TableSpec& spec, int rank, int world);

/// Gives every table-wise and column-wise table without an owner one: the largest first, each to the rank that holds
/// least so far (by rows x dim of what is placed on few ranks; the lowest rank of equals). A pure function: all ranks
/// find the same. A table that does not say how many rows it expects counts as the median of those that do.
void assign_owners(std::vector<TableSpec>& specs, int world);

}  // namespace rondo
