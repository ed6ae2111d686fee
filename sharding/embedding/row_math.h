#pragma once

#include <cmath>
#include <cstdint>

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

/// Sums over columns add column c to partial sum c mod kPartialSums, then join halves: 8, 4, 2, 1. Every form of the
/// loop, of any vector width up to kPartialSums, keeps this order.
inline constexpr int kPartialSums = 16;

template <typename T>
T join_partial_sums(T (&sums)[kPartialSums]) {
  for (int half = kPartialSums / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] = sums[i] + sums[i + half];
  }
  return sums[0];
}

template <typename T>
T sum_of_products(const T* a, const T* b, int64_t dim) {
  T sums[kPartialSums] = {};
  for (int64_t c = 0; c < dim; ++c) {
    T& sum = sums[c % kPartialSums];
    sum = std::fma(a[c], b[c], sum);
  }
  return join_partial_sums(sums);
}

/// New accumulator of row-wise Adagrad: the mean of g^2 is added.
template <typename T>
T adagrad_accumulator(T accumulator, T squares, int64_t dim) {
  return accumulator + squares / static_cast<T>(dim);
}

/// One optimizer step on one row: the definition that the vectorised loop (row_kernels) repeats bit for bit.
///
///   SGD                w = decay w - rate g
///   row-wise Adagrad   s = s + mean(g^2); w = decay w - rate / (sqrt(s) + eps) g          (FBGEMM, exact)
///   Adam               m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
///                      w = decay w - rate (m unbias1) / (sqrt(v unbias2) + eps)
///
/// `values` and `gradient` [dim]; `state` [state_width].
template <typename T>
void update_row(const RowStep<T>& step, T* values, T* state, const T* gradient, int64_t dim) {
  if (step.kind == RowOptimizerKind::kAdam) {
    T* const first = state;
    T* const second = state + dim;
    for (int64_t c = 0; c < dim; ++c) {
      first[c] = std::fma(step.beta1, first[c], step.gain1 * gradient[c]);
      second[c] = std::fma(step.beta2, second[c], (step.gain2 * gradient[c]) * gradient[c]);
      const T direction = (first[c] * step.unbias1) / (std::sqrt(second[c] * step.unbias2) + step.epsilon);
      values[c] = std::fma(-step.rate, direction, step.decay * values[c]);
    }
    return;
  }
  T rate = step.rate;
  if (step.kind == RowOptimizerKind::kRowWiseAdagrad) {
    state[0] = adagrad_accumulator(state[0], sum_of_products(gradient, gradient, dim), dim);
    rate = step.rate / (std::sqrt(state[0]) + step.epsilon);
  }
  for (int64_t c = 0; c < dim; ++c) values[c] = std::fma(-rate, gradient[c], step.decay * values[c]);
}

}  // namespace rondo
