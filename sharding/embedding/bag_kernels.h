#pragma once

#include <cstdint>

namespace rondo {

/// Rows to add up into bags: bag b has rows [offsets[b], offsets[b + 1]) - offsets[0].
template <typename T>
struct BagRows {
  const T* const* rows;    // addresses of [dim] each
  const T* weights;        // one a row, or null for ones
  const int64_t* offsets;  // [bags + 1]
  int64_t bags;
  int64_t dim;
};

/// sums[b * stride + c] = sum over the rows i of bag b, in their order, of weights[i] * rows[i][c]; zeros for an empty
/// bag. The next rows come to the cache meanwhile. For the processor at hand (Highway); T is float or double. One
/// thread.
template <typename T>
void sum_bag_rows(const BagRows<T>& bags, T* sums, int64_t stride);

}  // namespace rondo
