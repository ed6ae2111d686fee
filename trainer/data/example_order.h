#pragma once

#include <cstdint>

#include "sharding/base/permutation.h"

namespace rondo {

/// Where training stands in the data: what resume needs to repeat nothing and skip nothing, on any world size.
struct DataCursor {
  int64_t epoch = 0;
  int64_t next = 0;  // examples of this epoch already used

  bool operator==(const DataCursor&) const = default;
};

/// The examples of a global batch: [first, first + size) of the epoch's order.
struct BatchRange {
  int64_t epoch = 0;
  int64_t first = 0;
  int64_t size = 0;
};

/// The global batch at `cursor`, which moves on, behind the last example to {epoch + 1, 0}. The last batch of an epoch
/// may be smaller.
BatchRange next_range(DataCursor& cursor, int64_t global_batch, int64_t examples);

/// The order of the examples in an epoch: a pure function of (seed, epoch).
Permutation epoch_order(int64_t examples, int64_t epoch, uint64_t seed);

}  // namespace rondo
