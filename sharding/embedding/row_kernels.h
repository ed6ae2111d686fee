#pragma once

#include <cstdint>
#include <span>

#include "sharding/embedding/row_math.h"

namespace rondo {

/// Vectorised loops over rows, for the processor at hand (Highway, dynamic dispatch). T is float or double. One thread.

/// update_row, bit for bit, on each of `rows`. V: float, double, Float16, BFloat16.
template <typename V>
void update_rows(const RowStep<ComputeType<V>>& step, std::span<const LearningRow<V>> rows, int64_t dim);

/// sums[i] = sum_of_products of row i with itself, bit for bit; `rows` [count, dim].
template <typename T>
void sums_of_squares(const T* rows, int64_t count, int64_t dim, T* sums);

/// to[c] = to[c] + from[c].
template <typename T>
void add_row(T* to, const T* from, int64_t dim);

/// Which rows of a matrix to add up: rows [any, dim], positions [count], weights [count] or null for ones.
template <typename T>
struct RowSum {
  const T* rows;
  const int64_t* positions;
  const T* weights;
  int64_t count;
  int64_t dim;
};

/// out[c] = sum over i in [0, count) of weights[i] * rows[positions[i]][c], in that order; zeros for count 0.
template <typename T>
void weighted_sum(const RowSum<T>& sum, T* out);

/// sum_of_products, bit for bit.
template <typename T>
T dot(const T* a, const T* b, int64_t dim);

}  // namespace rondo
