#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <type_traits>
#include <vector>

#include "sharding/base/hash.h"

namespace rondo {

/// Values that depend on who sends, who gets and where they stand: a swapped or shifted segment shows.
inline uint8_t byte_between(int source, int target, int64_t i) {
  return static_cast<uint8_t>(mix64(mix64(static_cast<uint64_t>(100 * source + target)) + static_cast<uint64_t>(i)));
}

/// An addend whose size differs widely between ranks: another order of summation gives other last bits.
template <typename T>
T addend(int rank, int64_t i) {
  const auto bits = mix64(static_cast<uint64_t>(i) * 31 + static_cast<uint64_t>(rank));
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(bits >> 8);
  } else {
    const auto unit = static_cast<T>(static_cast<double>(bits >> 11) * 0x1p-53 - 0.5);
    return rank % 2 == 0 ? unit * T{4096} : unit;
  }
}

/// ((r0 + r1) + r2) + ...
template <typename T>
T sum_in_rank_order(int world, int64_t i) {
  T sum = addend<T>(0, i);
  for (int rank = 1; rank < world; ++rank) sum += addend<T>(rank, i);
  return sum;
}

inline int64_t total(const std::vector<int64_t>& rows) { return std::accumulate(rows.begin(), rows.end(), int64_t{0}); }

template <typename T>
std::vector<T> values_of(const at::Tensor& tensor) {
  const auto* data = static_cast<const T*>(tensor.const_data_ptr());
  return {data, data + tensor.nbytes() / sizeof(T)};
}

/// A tensor of this shape that holds the bytes of `values`.
template <typename T>
at::Tensor tensor_of(const std::vector<T>& values, at::IntArrayRef shape, at::ScalarType dtype) {
  at::Tensor tensor = at::empty(shape, dtype);
  EXPECT_EQ(tensor.nbytes(), values.size() * sizeof(T));
  std::copy(values.begin(), values.end(), static_cast<T*>(tensor.mutable_data_ptr()));
  return tensor;
}

}  // namespace rondo
