#pragma once

#include <cstdint>

/// Vectorised passes over one block of a parameter; the instruction set is chosen when the program runs.
namespace rondo::kernels {

/// The factors of one AdamW step, the same for all elements of a parameter.
struct AdamWFactors {
  double gradient_scale = 1.0;
  double keep = 1.0;  // 1 - learning rate * weight decay
  double beta1 = 0.9;
  double beta2 = 0.999;
  double step_size = 0.0;  // learning rate / (1 - beta1^t)
  double v_scale = 1.0;    // 1 / sqrt(1 - beta2^t)
  double eps = 1e-8;
};

template <typename T>
struct AdamWBlock {
  T* w = nullptr;
  const T* g = nullptr;
  T* m = nullptr;
  T* v = nullptr;
  int64_t count = 0;
};

void adam_w(const AdamWBlock<float>& block, const AdamWFactors& factors);
void adam_w(const AdamWBlock<double>& block, const AdamWFactors& factors);

/// w = keep w - rate g.
template <typename T>
struct SgdBlock {
  T* w = nullptr;
  const T* g = nullptr;
  int64_t count = 0;
};
struct SgdFactors {
  double keep = 1.0;
  double rate = 0.0;
};

void sgd(const SgdBlock<float>& block, const SgdFactors& factors);
void sgd(const SgdBlock<double>& block, const SgdFactors& factors);

/// Summed in fp64; NaN or infinite where an element is.
double sum_of_squares(const float* values, int64_t count);
double sum_of_squares(const double* values, int64_t count);

}  // namespace rondo::kernels
