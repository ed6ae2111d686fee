#include "sharding/embedding/row_kernels.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sharding/embedding/row_kernels.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which compiles this file once for each instruction set.
#include <hwy/highway.h>

#include "sharding/base/half_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
namespace half_lanes = rondo::half::HWY_NAMESPACE;

// Without a fused multiply-add of the processor the scalar definition runs instead: same bits, slower.
#if HWY_NATIVE_FMA
constexpr bool kVectorised = true;
#else
constexpr bool kVectorised = false;
#endif

template <typename T>
using Columns = hn::CappedTag<T, kPartialSums>;

/// A vector from a row of which `left` columns remain; lanes beyond its end are zero and are not stored.
template <class D, typename T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> load(D d, const T* from, int64_t left) {
  if (left >= static_cast<int64_t>(hn::Lanes(d))) return hn::LoadU(d, from);
#if HWY_MEM_OPS_MIGHT_FAULT  // a masked load reads the whole vector
  HWY_ALIGN T whole[kPartialSums] = {};
  std::copy_n(from, left, whole);
  return hn::Load(d, whole);
#else
  return hn::MaskedLoad(hn::FirstN(d, static_cast<size_t>(left)), d, from);
#endif
}

template <class D, typename T = hn::TFromD<D>>
HWY_INLINE void store(D d, hn::Vec<D> value, T* to, int64_t left) {
  if (left >= static_cast<int64_t>(hn::Lanes(d))) return hn::StoreU(value, d, to);
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN T whole[kPartialSums];
  hn::Store(value, d, whole);
  std::copy_n(whole, left, to);
#else
  hn::BlendedStore(value, hn::FirstN(d, static_cast<size_t>(left)), d, to);
#endif
}

/// sum_of_products of row_math.h, bit for bit.
template <typename T>
HWY_INLINE T product_sum(const T* a, const T* b, int64_t dim) {
  if constexpr (!kVectorised) return sum_of_products(a, b, dim);
  const Columns<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN T sums[kPartialSums] = {};
  for (int64_t offset = 0; offset < kPartialSums; offset += lanes) {
    auto sum = hn::Zero(d);
    for (int64_t c = offset; c < dim; c += kPartialSums) {
      sum = hn::MulAdd(load(d, a + c, dim - c), load(d, b + c, dim - c), sum);
    }
    hn::Store(sum, d, sums + offset);
  }
  return join_partial_sums(sums);
}

/// Reads and writes the values of one row by columns, as widen and write_value do.
template <typename V>
class ValueLanes {
 public:
  using T = ComputeType<V>;
  using D = Columns<T>;

  explicit ValueLanes(const LearningRow<V>& row) : values_(row.values) {}
  HWY_INLINE hn::Vec<D> read(D d, int64_t c, int64_t left) const { return load(d, values_ + c, left); }
  HWY_INLINE void write(D d, hn::Vec<D> value, int64_t c, int64_t left) const { store(d, value, values_ + c, left); }

 private:
  V* values_;
};

#if HWY_NATIVE_FMA
template <typename V>
class HalfLanes {
 public:
  using D = Columns<float>;

  explicit HalfLanes(const LearningRow<V>& row)
      : values_(reinterpret_cast<uint16_t*>(row.values)), rounding_(row.rounding), first_column_(row.first_column) {}

  HWY_INLINE hn::Vec<D> read(D d, int64_t c, int64_t left) const {
    const hn::Rebind<uint16_t, D> words;
    if (left >= static_cast<int64_t>(hn::Lanes(d))) {
      return half_lanes::widen_lanes(d, V{}, hn::LoadU(words, values_ + c));
    }
    HWY_ALIGN uint16_t whole[kPartialSums] = {};
    std::copy_n(values_ + c, left, whole);
    return half_lanes::widen_lanes(d, V{}, hn::Load(words, whole));
  }

  HWY_INLINE void write(D d, hn::Vec<D> value, int64_t c, int64_t left) const {
    const hn::Rebind<uint16_t, D> words;
    const auto rounded = half_lanes::stochastic_lanes<V>(d, value, random(d, first_column_ + c));
    if (left >= static_cast<int64_t>(hn::Lanes(d))) return hn::StoreU(rounded, words, values_ + c);
    HWY_ALIGN uint16_t whole[kPartialSums];
    hn::Store(rounded, words, whole);
    std::copy_n(whole, left, values_ + c);
  }

 private:
  /// rounding_bits of the columns from `column` on: low and high halves of numbers column / 2, column / 2 + 1, ...
  HWY_INLINE half_lanes::Bits<D> random(D d, int64_t column) const {
    if (column % 2 != 0) return random_from_odd(d, column);
    const hn::Repartition<uint64_t, D> wide;
    const uint64_t start = rounding_ + static_cast<uint64_t>(column) / 2 * CounterRandom::kGamma;
    auto x = hn::Add(hn::Set(wide, start), hn::Iota(wide, 1) * hn::Set(wide, CounterRandom::kGamma));
    x = hn::Xor(x, hn::ShiftRight<30>(x)) * hn::Set(wide, uint64_t{0xbf58476d1ce4e5b9ULL});
    x = hn::Xor(x, hn::ShiftRight<27>(x)) * hn::Set(wide, uint64_t{0x94d049bb133111ebULL});
    x = hn::Xor(x, hn::ShiftRight<31>(x));
    return hn::BitCast(hn::RebindToUnsigned<D>(), x);
  }

  half_lanes::Bits<D> random_from_odd(D d, int64_t column) const {
    HWY_ALIGN uint32_t bits[kPartialSums];
    for (size_t i = 0; i < hn::Lanes(d); ++i) bits[i] = rounding_bits(rounding_, column + static_cast<int64_t>(i));
    return hn::Load(hn::RebindToUnsigned<D>(), bits);
  }

  uint16_t* values_;
  uint64_t rounding_;
  int64_t first_column_;
};
template <>
class ValueLanes<Float16> : public HalfLanes<Float16> {
  using HalfLanes::HalfLanes;
};
template <>
class ValueLanes<BFloat16> : public HalfLanes<BFloat16> {
  using HalfLanes::HalfLanes;
};
#endif

/// values = decay values - rate gradient.
template <typename V>
HWY_INLINE void step_along(ComputeType<V> rate, const RowStep<ComputeType<V>>& step, const LearningRow<V>& row,
                           int64_t dim) {
  const Columns<ComputeType<V>> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const ValueLanes<V> values(row);
  const auto rates = hn::Set(d, rate), decay = hn::Set(d, step.decay);
  for (int64_t c = 0; c < dim; c += lanes) {
    const int64_t left = dim - c;
    const auto kept = hn::Mul(decay, values.read(d, c, left));
    values.write(d, hn::NegMulAdd(rates, load(d, row.gradient + c, left), kept), c, left);
  }
}

template <typename V>
HWY_INLINE void adagrad_columns(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, int64_t dim) {
  const Columns<ComputeType<V>> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto rate = hn::Set(d, step.rate), decay = hn::Set(d, step.decay), epsilon = hn::Set(d, step.epsilon);
  const auto scale = hn::Set(d, row.scale);
  const ValueLanes<V> values(row);
  for (int64_t c = 0; c < dim; c += lanes) {
    const int64_t left = dim - c;
    const auto g = hn::Mul(scale, load(d, row.gradient + c, left));
    const auto s = hn::MulAdd(g, g, load(d, row.state + c, left));
    store(d, s, row.state + c, left);
    const auto direction = hn::Div(g, hn::Add(hn::Sqrt(s), epsilon));
    values.write(d, hn::NegMulAdd(rate, direction, hn::Mul(decay, values.read(d, c, left))), c, left);
  }
}

template <typename V>
HWY_INLINE void adam_columns(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, int64_t dim) {
  auto* const first = row.state;
  auto* const second = row.state + dim;
  const Columns<ComputeType<V>> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto beta1 = hn::Set(d, step.beta1), gain1 = hn::Set(d, step.gain1), unbias1 = hn::Set(d, step.unbias1);
  const auto beta2 = hn::Set(d, step.beta2), gain2 = hn::Set(d, step.gain2), unbias2 = hn::Set(d, step.unbias2);
  const auto rate = hn::Set(d, step.rate), decay = hn::Set(d, step.decay), epsilon = hn::Set(d, step.epsilon);
  const auto scale = hn::Set(d, row.scale);
  const ValueLanes<V> values(row);
  for (int64_t c = 0; c < dim; c += lanes) {
    const int64_t left = dim - c;
    const auto g = hn::Mul(scale, load(d, row.gradient + c, left));
    const auto m = hn::MulAdd(beta1, load(d, first + c, left), hn::Mul(gain1, g));
    const auto v = hn::MulAdd(beta2, load(d, second + c, left), hn::Mul(hn::Mul(gain2, g), g));
    store(d, m, first + c, left);
    store(d, v, second + c, left);
    const auto root = hn::Add(hn::Sqrt(hn::Mul(v, unbias2)), epsilon);
    const auto direction = hn::Div(hn::Mul(m, unbias1), root);
    values.write(d, hn::NegMulAdd(rate, direction, hn::Mul(decay, values.read(d, c, left))), c, left);
  }
}

template <typename V>
HWY_INLINE void row_wise_adam_columns(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, int64_t dim) {
  const Columns<ComputeType<V>> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto rate = hn::Set(d, row_wise_adam_rate(step, row, dim)), decay = hn::Set(d, step.decay);
  const auto beta1 = hn::Set(d, step.beta1), gain1 = hn::Set(d, step.gain1), scale = hn::Set(d, row.scale);
  const ValueLanes<V> values(row);
  for (int64_t c = 0; c < dim; c += lanes) {
    const int64_t left = dim - c;
    const auto g = hn::Mul(scale, load(d, row.gradient + c, left));
    const auto m = hn::MulAdd(beta1, load(d, row.state + c, left), hn::Mul(gain1, g));
    store(d, m, row.state + c, left);
    values.write(d, hn::NegMulAdd(rate, m, hn::Mul(decay, values.read(d, c, left))), c, left);
  }
}

template <typename V>
HWY_INLINE void update_vectorised(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, int64_t dim) {
  switch (step.kind) {
    case RowOptimizerKind::kNone:
      return;
    case RowOptimizerKind::kSgd:
      return step_along(step.rate * row.scale, step, row, dim);
    case RowOptimizerKind::kAdagrad:
      return adagrad_columns(step, row, dim);
    case RowOptimizerKind::kRowWiseAdagrad:
      return step_along(row_wise_adagrad_rate(step, row), step, row, dim);
    case RowOptimizerKind::kAdam:
      return adam_columns(step, row, dim);
    case RowOptimizerKind::kRowWiseAdam:
      return row_wise_adam_columns(step, row, dim);
  }
}

template <typename V>
void update_rows_of(const RowStep<ComputeType<V>>& step, std::span<const LearningRow<V>> rows, int64_t dim) {
  for (const LearningRow<V>& row : rows) {
    if constexpr (kVectorised) {
      update_vectorised(step, row, dim);
    } else {
      update_row(step, row, dim);
    }
  }
}

template <typename T>
void squares_of_rows(const T* rows, int64_t count, int64_t dim, T* squares) {
  for (int64_t i = 0; i < count; ++i) squares[i] = product_sum(rows + i * dim, rows + i * dim, dim);
}

template <typename T>
void add_row_of(T* to, const T* from, int64_t dim) {
  const Columns<T> d;
  for (int64_t c = 0; c < dim; c += static_cast<int64_t>(hn::Lanes(d))) {
    store(d, hn::Add(load(d, to + c, dim - c), load(d, from + c, dim - c)), to + c, dim - c);
  }
}

/// weighted_sum for kVectors whole vectors of columns, which stay in registers while the rows pass.
template <int kVectors, typename T>
HWY_INLINE void weighted_columns(const RowSum<T>& sum, int64_t column, T* out) {
  const Columns<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<Columns<T>> sums[kVectors];
  for (auto& partial : sums) partial = hn::Zero(d);
  for (int64_t i = 0; i < sum.count; ++i) {
    const T* const row = sum.rows + sum.positions[i] * sum.dim + column;
    const auto weight = hn::Set(d, sum.weights != nullptr ? sum.weights[i] : T{1});
    for (int v = 0; v < kVectors; ++v) sums[v] = hn::MulAdd(weight, hn::LoadU(d, row + v * lanes), sums[v]);
  }
  for (int v = 0; v < kVectors; ++v) hn::StoreU(sums[v], d, out + column + v * lanes);
}

template <typename T>
HWY_INLINE void weighted_rest(const RowSum<T>& sum, int64_t column, T* out) {
  const Columns<T> d;
  const int64_t left = sum.dim - column;
  auto total = hn::Zero(d);
  for (int64_t i = 0; i < sum.count; ++i) {
    const T* const row = sum.rows + sum.positions[i] * sum.dim + column;
    const auto weight = hn::Set(d, sum.weights != nullptr ? sum.weights[i] : T{1});
    total = hn::MulAdd(weight, load(d, row, left), total);
  }
  store(d, total, out + column, left);
}

template <typename T>
void weighted_sum_of(const RowSum<T>& sum, T* out) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Columns<T>()));
  int64_t column = 0;
  for (; column + 4 * lanes <= sum.dim; column += 4 * lanes) weighted_columns<4>(sum, column, out);
  for (; column + lanes <= sum.dim; column += lanes) weighted_columns<1>(sum, column, out);
  if (column < sum.dim) weighted_rest(sum, column, out);
}

// Highway exports functions, not templates.
void update_rows_f32(const RowStep<float>& step, std::span<const LearningRow<float>> rows, int64_t dim) {
  update_rows_of(step, rows, dim);
}
void update_rows_f64(const RowStep<double>& step, std::span<const LearningRow<double>> rows, int64_t dim) {
  update_rows_of(step, rows, dim);
}
void update_rows_f16(const RowStep<float>& step, std::span<const LearningRow<Float16>> rows, int64_t dim) {
  update_rows_of(step, rows, dim);
}
void update_rows_bf16(const RowStep<float>& step, std::span<const LearningRow<BFloat16>> rows, int64_t dim) {
  update_rows_of(step, rows, dim);
}
void sums_of_squares_f32(const float* rows, int64_t count, int64_t dim, float* sums) {
  squares_of_rows(rows, count, dim, sums);
}
void sums_of_squares_f64(const double* rows, int64_t count, int64_t dim, double* sums) {
  squares_of_rows(rows, count, dim, sums);
}
void add_row_f32(float* to, const float* from, int64_t dim) { add_row_of(to, from, dim); }
void add_row_f64(double* to, const double* from, int64_t dim) { add_row_of(to, from, dim); }
void weighted_sum_f32(const RowSum<float>& sum, float* out) { weighted_sum_of(sum, out); }
void weighted_sum_f64(const RowSum<double>& sum, double* out) { weighted_sum_of(sum, out); }
float dot_f32(const float* a, const float* b, int64_t dim) { return product_sum(a, b, dim); }
double dot_f64(const double* a, const double* b, int64_t dim) { return product_sum(a, b, dim); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rondo
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo {

HWY_EXPORT(update_rows_f32);
HWY_EXPORT(update_rows_f64);
HWY_EXPORT(update_rows_f16);
HWY_EXPORT(update_rows_bf16);
HWY_EXPORT(sums_of_squares_f32);
HWY_EXPORT(sums_of_squares_f64);
HWY_EXPORT(add_row_f32);
HWY_EXPORT(add_row_f64);
HWY_EXPORT(weighted_sum_f32);
HWY_EXPORT(weighted_sum_f64);
HWY_EXPORT(dot_f32);
HWY_EXPORT(dot_f64);

template <>
void update_rows(const RowStep<float>& step, std::span<const LearningRow<float>> rows, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(update_rows_f32)(step, rows, dim);
}
template <>
void update_rows(const RowStep<double>& step, std::span<const LearningRow<double>> rows, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(update_rows_f64)(step, rows, dim);
}
template <>
void update_rows(const RowStep<float>& step, std::span<const LearningRow<Float16>> rows, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(update_rows_f16)(step, rows, dim);
}
template <>
void update_rows(const RowStep<float>& step, std::span<const LearningRow<BFloat16>> rows, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(update_rows_bf16)(step, rows, dim);
}
template <>
void sums_of_squares(const float* rows, int64_t count, int64_t dim, float* sums) {
  HWY_DYNAMIC_DISPATCH(sums_of_squares_f32)(rows, count, dim, sums);
}
template <>
void sums_of_squares(const double* rows, int64_t count, int64_t dim, double* sums) {
  HWY_DYNAMIC_DISPATCH(sums_of_squares_f64)(rows, count, dim, sums);
}
template <>
void add_row(float* to, const float* from, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(add_row_f32)(to, from, dim);
}
template <>
void add_row(double* to, const double* from, int64_t dim) {
  HWY_DYNAMIC_DISPATCH(add_row_f64)(to, from, dim);
}
template <>
void weighted_sum(const RowSum<float>& sum, float* out) {
  HWY_DYNAMIC_DISPATCH(weighted_sum_f32)(sum, out);
}
template <>
void weighted_sum(const RowSum<double>& sum, double* out) {
  HWY_DYNAMIC_DISPATCH(weighted_sum_f64)(sum, out);
}
template <>
float dot(const float* a, const float* b, int64_t dim) {
  return HWY_DYNAMIC_DISPATCH(dot_f32)(a, b, dim);
}
template <>
double dot(const double* a, const double* b, int64_t dim) {
  return HWY_DYNAMIC_DISPATCH(dot_f64)(a, b, dim);
}

}  // namespace rondo
#endif
