#include "sharding/embedding/bag_kernels.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sharding/embedding/bag_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which compiles this file once for each instruction set.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace rondo {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kAheadBytes = 12288;  // of rows that are fetched while earlier ones are added, to the second cache
constexpr int64_t kCacheLineBytes = 64;

template <typename T>
HWY_INLINE void fetch(const T* row, int64_t dim) {
  const auto* const bytes = reinterpret_cast<const char*>(row);
  const int64_t count = dim * static_cast<int64_t>(sizeof(T));
  for (int64_t at = 0; at < count; at += kCacheLineBytes) __builtin_prefetch(bytes + at, 0, 2);
  __builtin_prefetch(bytes + count - 1, 0, 2);
}

/// The rows of one bag, and those that follow in its block.
template <typename T>
struct OneBag {
  const T* const* rows;
  const T* weights;  // or null
  int64_t count;
  int64_t following;  // rows after the bag
};

/// kVectors whole vectors of columns, which stay in registers while the rows pass.
template <int kVectors, bool kFetch, typename T>
HWY_INLINE void sum_columns(const OneBag<T>& bag, int64_t dim, int64_t column, T* out) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<hn::ScalableTag<T>> sums[kVectors];
  for (auto& sum : sums) sum = hn::Zero(d);
  const int64_t last = bag.count + bag.following - 1;
  const int64_t ahead = kAheadBytes / (dim * static_cast<int64_t>(sizeof(T)));
  for (int64_t i = 0; i < bag.count; ++i) {
    if constexpr (kFetch) fetch(bag.rows[std::min(i + ahead, last)], dim);
    const T* const row = bag.rows[i] + column;
    const auto weight = hn::Set(d, bag.weights != nullptr ? bag.weights[i] : T{1});
    for (int v = 0; v < kVectors; ++v) sums[v] = hn::MulAdd(weight, hn::LoadU(d, row + v * lanes), sums[v]);
  }
  for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[v], d, out + column + v * lanes);
}

/// The columns after the last whole vector.
template <typename T>
void sum_rest(const OneBag<T>& bag, int64_t dim, int64_t column, T* out) {
  for (; column < dim; ++column) {
    T sum{0};
    for (int64_t i = 0; i < bag.count; ++i) {
      sum = std::fma(bag.weights != nullptr ? bag.weights[i] : T{1}, bag.rows[i][column], sum);
    }
    out[column] = sum;
  }
}

/// All whole vectors of columns from `column` on, as many at a time as registers allow. Rows are fetched in the first
/// pass alone.
template <bool kFetch, typename T>
HWY_INLINE int64_t sum_vectors(const OneBag<T>& bag, int64_t dim, int64_t column, T* out) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  const int64_t vectors = std::min<int64_t>(4, (dim - column) / lanes);
  switch (vectors) {
    case 4:
      sum_columns<4, kFetch>(bag, dim, column, out);
      break;
    case 3:
      sum_columns<3, kFetch>(bag, dim, column, out);
      break;
    case 2:
      sum_columns<2, kFetch>(bag, dim, column, out);
      break;
    case 1:
      sum_columns<1, kFetch>(bag, dim, column, out);
      break;
    default:
      break;
  }
  return column + vectors * lanes;
}

template <typename T>
HWY_INLINE void sum_bag(const OneBag<T>& bag, int64_t dim, T* out) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<T>()));
  int64_t column = sum_vectors<true>(bag, dim, 0, out);
  while (column + lanes <= dim) column = sum_vectors<false>(bag, dim, column, out);
  if (column < dim) sum_rest(bag, dim, column, out);
}

template <typename T>
void sum_bag_rows_of(const BagRows<T>& bags, T* sums, int64_t stride) {
  const int64_t base = bags.offsets[0], all = bags.offsets[bags.bags] - base;
  for (int64_t b = 0; b < bags.bags; ++b) {
    const int64_t first = bags.offsets[b] - base, end = bags.offsets[b + 1] - base;
    sum_bag<T>({bags.rows + first, bags.weights == nullptr ? nullptr : bags.weights + first, end - first, all - end},
               bags.dim, sums + b * stride);
  }
}

// Highway exports functions, not templates.
void sum_bag_rows_f32(const BagRows<float>& bags, float* sums, int64_t stride) { sum_bag_rows_of(bags, sums, stride); }
void sum_bag_rows_f64(const BagRows<double>& bags, double* sums, int64_t stride) {
  sum_bag_rows_of(bags, sums, stride);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rondo
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo {

HWY_EXPORT(sum_bag_rows_f32);
HWY_EXPORT(sum_bag_rows_f64);

template <>
void sum_bag_rows(const BagRows<float>& bags, float* sums, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(sum_bag_rows_f32)(bags, sums, stride);
}
template <>
void sum_bag_rows(const BagRows<double>& bags, double* sums, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(sum_bag_rows_f64)(bags, sums, stride);
}

}  // namespace rondo
#endif
