#pragma once

#include <cmath>
#include <cstdint>

#include "sharding/base/half.h"
#include "sharding/base/host_device.h"
#include "sharding/base/random.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

/// The numbers of one optimizer step that all rows of a table share, rounded to the type of the rows.
template <typename T>
struct RowStep {
  RowOptimizerKind kind;
  T rate;              // learning rate of this step
  T decay;             // 1 - rate * weight_decay
  T epsilon;           // outside the root
  T beta1, gain1;      // Adam; gain = 1 - beta
  T beta2, gain2;      //
  T unbias1, unbias2;  // 1 / (1 - beta^step)
};

template <typename T>
RowStep<T> make_row_step(const RowOptimizerOptions& options, int64_t step, double learning_rate_factor) {
  const double rate = options.learning_rate * learning_rate_factor, t = static_cast<double>(step);
  return {.kind = options.kind,
          .rate = static_cast<T>(rate),
          .decay = static_cast<T>(1.0 - rate * options.weight_decay),
          .epsilon = static_cast<T>(options.epsilon),
          .beta1 = static_cast<T>(options.beta1),
          .gain1 = static_cast<T>(1.0 - options.beta1),
          .beta2 = static_cast<T>(options.beta2),
          .gain2 = static_cast<T>(1.0 - options.beta2),
          .unbias1 = static_cast<T>(1.0 / (1.0 - std::pow(options.beta1, t))),
          .unbias2 = static_cast<T>(1.0 / (1.0 - std::pow(options.beta2, t)))};
}

/// The count of a row that has not occurred for `elapsed` steps.
RONDO_HOST_DEVICE inline float decayed_count(float count, int64_t elapsed, double decay) {
  if (count == 0.0F) return count;
  double kept = 1.0, base = 1.0 - decay;
  for (int64_t exponent = elapsed; exponent > 0; exponent >>= 1, base *= base) {
    if ((exponent & 1) != 0) kept *= base;
  }
  return static_cast<float>(count * kept);
}

RONDO_HOST_DEVICE inline float raised_count(float count, int64_t occurrences, double decay) {
  return static_cast<float>(count + decay * static_cast<double>(occurrences));
}

/// Sums over columns add column c to partial sum c mod kPartialSums, then join halves: 8, 4, 2, 1. Every form of the
/// loop, of any vector width up to kPartialSums, keeps this order.
inline constexpr int kPartialSums = 16;

template <typename T>
RONDO_HOST_DEVICE T join_partial_sums(T (&sums)[kPartialSums]) {
  for (int half = kPartialSums / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] = sums[i] + sums[i + half];
  }
  return sums[0];
}

template <typename T>
RONDO_HOST_DEVICE T sum_of_products(const T* a, const T* b, int64_t dim) {
  T sums[kPartialSums] = {};
  for (int64_t c = 0; c < dim; ++c) {
    T& sum = sums[c % kPartialSums];
    sum = std::fma(a[c], b[c], sum);
  }
  return join_partial_sums(sums);
}

/// A row that learns: what one optimizer step reads and writes. V is the type of its values in memory.
template <typename V>
struct LearningRow {
  using T = ComputeType<V>;
  V* values;                 // [dim]
  T* state;                  // [state_width]
  const T* gradient;         // [dim]
  T scale;                   // on the gradient, which is clipped by it; 1: as it is
  T mean_square;             // of `gradient`, unscaled
  uint64_t rounding = 0;     // values of 16 bits: the row's sequence of random numbers in this step
  int64_t first_column = 0;  // of the table's, for `rounding`
};

/// The random bits that round column `column` of a table: a number of the sequence serves two columns.
RONDO_HOST_DEVICE inline uint32_t rounding_bits(uint64_t sequence, int64_t column) {
  const uint64_t bits = CounterRandom::bits_at(sequence, static_cast<uint64_t>(column) / 2);
  return static_cast<uint32_t>(column % 2 == 0 ? bits : bits >> 32);
}

template <typename V>
RONDO_HOST_DEVICE void write_value(const LearningRow<V>& row, int64_t c, ComputeType<V> value) {
  if constexpr (sizeof(V) == sizeof(uint16_t)) {
    row.values[c] = stochastic<V>(value, rounding_bits(row.rounding, row.first_column + c));
  } else {
    row.values[c] = value;
  }
}

/// What brings a gradient of this norm^2 down to norm `limit`; 1 where it is below, or for limit 0.
template <typename T>
RONDO_HOST_DEVICE T clipping_factor(T norm_square, T limit) {
  const T norm = std::sqrt(norm_square);
  return limit > T{0} && norm > limit ? limit / norm : T{1};
}

template <typename V>
RONDO_HOST_DEVICE ComputeType<V> scaled_mean_square(const LearningRow<V>& row) {
  return (row.scale * row.scale) * row.mean_square;
}

/// The columns of a row that one caller updates: first, first + stride, ... A processor takes them all; each lane of a
/// device takes its own, after one of them has called row_rate.
struct RowShare {
  int64_t first = 0;
  int64_t stride = 1;
};

/// State 0 is the accumulator. Returns the rate of the whole row, for a gradient without scale.
template <typename V>
RONDO_HOST_DEVICE ComputeType<V> row_wise_adagrad_rate(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row) {
  row.state[0] = row.state[0] + scaled_mean_square(row);
  return step.rate * row.scale / (std::sqrt(row.state[0]) + step.epsilon);
}

/// State `dim` is the row's second moment. Returns the rate of the whole row, for its first moment m.
template <typename V>
RONDO_HOST_DEVICE ComputeType<V> row_wise_adam_rate(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row,
                                                    int64_t dim) {
  auto& second = row.state[dim];
  second = std::fma(step.beta2, second, step.gain2 * scaled_mean_square(row));
  return step.rate * step.unbias1 / (std::sqrt(second * step.unbias2) + step.epsilon);
}

/// values = decay values - rate gradient.
template <typename V>
RONDO_HOST_DEVICE void step_along(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, ComputeType<V> rate,
                                  int64_t dim, RowShare share) {
  for (int64_t c = share.first; c < dim; c += share.stride)
    write_value(row, c, std::fma(-rate, row.gradient[c], step.decay * widen(row.values[c])));
}

template <typename V>
RONDO_HOST_DEVICE void adagrad_columns(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, int64_t dim,
                                       RowShare share) {
  for (int64_t c = share.first; c < dim; c += share.stride) {
    const auto gradient = row.scale * row.gradient[c];
    row.state[c] = std::fma(gradient, gradient, row.state[c]);
    const auto direction = gradient / (std::sqrt(row.state[c]) + step.epsilon);
    write_value(row, c, std::fma(-step.rate, direction, step.decay * widen(row.values[c])));
  }
}

template <typename V>
RONDO_HOST_DEVICE void adam_columns(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, int64_t dim,
                                    RowShare share) {
  auto* const first = row.state;
  auto* const second = row.state + dim;
  for (int64_t c = share.first; c < dim; c += share.stride) {
    const auto gradient = row.scale * row.gradient[c];
    first[c] = std::fma(step.beta1, first[c], step.gain1 * gradient);
    second[c] = std::fma(step.beta2, second[c], (step.gain2 * gradient) * gradient);
    const auto direction = (first[c] * step.unbias1) / (std::sqrt(second[c] * step.unbias2) + step.epsilon);
    write_value(row, c, std::fma(-step.rate, direction, step.decay * widen(row.values[c])));
  }
}

template <typename V>
RONDO_HOST_DEVICE void row_wise_adam_columns(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row,
                                             ComputeType<V> rate, int64_t dim, RowShare share) {
  for (int64_t c = share.first; c < dim; c += share.stride) {
    row.state[c] = std::fma(step.beta1, row.state[c], step.gain1 * (row.scale * row.gradient[c]));
    write_value(row, c, std::fma(-rate, row.state[c], step.decay * widen(row.values[c])));
  }
}

/// The rate that all columns of a row share in this step; brings the state of the whole row up to date. Once a row.
template <typename V>
RONDO_HOST_DEVICE ComputeType<V> row_rate(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, int64_t dim) {
  switch (step.kind) {
    case RowOptimizerKind::kRowWiseAdagrad:
      return row_wise_adagrad_rate(step, row);
    case RowOptimizerKind::kRowWiseAdam:
      return row_wise_adam_rate(step, row, dim);
    default:
      return step.rate * row.scale;  // of SGD; the others have a rate a column
  }
}

/// One optimizer step on some columns of a row, after its row_rate.
template <typename V>
RONDO_HOST_DEVICE void update_columns(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row,
                                      ComputeType<V> rate, int64_t dim, RowShare share) {
  switch (step.kind) {
    case RowOptimizerKind::kNone:
      return;
    case RowOptimizerKind::kSgd:
    case RowOptimizerKind::kRowWiseAdagrad:
      return step_along(step, row, rate, dim, share);
    case RowOptimizerKind::kAdagrad:
      return adagrad_columns(step, row, dim, share);
    case RowOptimizerKind::kAdam:
      return adam_columns(step, row, dim, share);
    case RowOptimizerKind::kRowWiseAdam:
      return row_wise_adam_columns(step, row, rate, dim, share);
  }
}

/// One optimizer step on one row: the definition that the vectorised loop (row_kernels) repeats bit for bit, and that a
/// kernel of a device shares. With g = scale * gradient and decay = 1 - rate * weight_decay:
///
///   SGD                w = decay w - rate g
///   Adagrad            s = s + g^2; w = decay w - rate g / (sqrt(s) + eps)                (FBGEMM, exact)
///   row-wise Adagrad   s = s + mean(g^2); w = decay w - rate / (sqrt(s) + eps) g          (FBGEMM, exact)
///   Adam               m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
///                      w = decay w - rate (m unbias1) / (sqrt(v unbias2) + eps)
///   row-wise Adam      the same, with v = b2 v + (1 - b2) mean(g^2), one number a row
template <typename V>
RONDO_HOST_DEVICE void update_row(const RowStep<ComputeType<V>>& step, const LearningRow<V>& row, int64_t dim) {
  update_columns(step, row, row_rate(step, row, dim), dim, {});
}

}  // namespace rondo
