#include "trainer/optim/update_kernels.h"

// Compiled once per instruction set: see foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "trainer/optim/update_kernels.cc"
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/highway.h>

#include "trainer/nn/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::kernels::HWY_NAMESPACE {
template <typename T>
void update_adam_w(const AdamWBlock<T>& block, const AdamWFactors& factors) {
  for_lanes<T>(block.count, [&](auto d, int64_t i) HWY_ATTR {
    const auto set = [d](double value) HWY_ATTR { return hn::Set(d, static_cast<T>(value)); };
    const auto g = hn::Mul(hn::LoadU(d, block.g + i), set(factors.gradient_scale));
    const auto m = hn::MulAdd(set(factors.beta1), hn::LoadU(d, block.m + i), hn::Mul(set(1.0 - factors.beta1), g));
    const auto v =
        hn::MulAdd(set(factors.beta2), hn::LoadU(d, block.v + i), hn::Mul(hn::Mul(set(1.0 - factors.beta2), g), g));
    const auto denominator = hn::MulAdd(hn::Sqrt(v), set(factors.v_scale), set(factors.eps));
    const auto kept = hn::Mul(hn::LoadU(d, block.w + i), set(factors.keep));
    hn::StoreU(m, d, block.m + i);
    hn::StoreU(v, d, block.v + i);
    hn::StoreU(hn::Sub(kept, hn::Div(hn::Mul(set(factors.step_size), m), denominator)), d, block.w + i);
  });
}

template <typename T>
void update_sgd(const SgdBlock<T>& block, const SgdFactors& factors) {
  for_lanes<T>(block.count, [&](auto d, int64_t i) HWY_ATTR {
    const auto kept = hn::Mul(hn::LoadU(d, block.w + i), hn::Set(d, static_cast<T>(factors.keep)));
    const auto change = hn::Mul(hn::LoadU(d, block.g + i), hn::Set(d, static_cast<T>(factors.rate)));
    hn::StoreU(hn::Sub(kept, change), d, block.w + i);
  });
}

void adam_w_float(const AdamWBlock<float>& block, const AdamWFactors& factors) { update_adam_w(block, factors); }
void adam_w_double(const AdamWBlock<double>& block, const AdamWFactors& factors) { update_adam_w(block, factors); }
void sgd_float(const SgdBlock<float>& block, const SgdFactors& factors) { update_sgd(block, factors); }
void sgd_double(const SgdBlock<double>& block, const SgdFactors& factors) { update_sgd(block, factors); }

double sum_of_squares_double(const double* values, int64_t count) {
  return sum_lanes<double>(count, [&](auto d, int64_t i) HWY_ATTR {
    const auto x = hn::LoadU(d, values + i);
    return hn::Mul(x, x);
  });
}

double sum_of_squares_float(const float* values, int64_t count) {
  return sum_lanes<double>(count, [&](auto d, int64_t i) HWY_ATTR {
    const hn::Rebind<float, decltype(d)> narrow;
    const auto x = hn::PromoteTo(d, hn::LoadU(narrow, values + i));
    return hn::Mul(x, x);
  });
}

}  // namespace rondo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::kernels {

HWY_EXPORT(adam_w_float);
HWY_EXPORT(adam_w_double);
HWY_EXPORT(sgd_float);
HWY_EXPORT(sgd_double);
HWY_EXPORT(sum_of_squares_float);
HWY_EXPORT(sum_of_squares_double);

void adam_w(const AdamWBlock<float>& block, const AdamWFactors& factors) {
  HWY_DYNAMIC_DISPATCH(adam_w_float)(block, factors);
}
void adam_w(const AdamWBlock<double>& block, const AdamWFactors& factors) {
  HWY_DYNAMIC_DISPATCH(adam_w_double)(block, factors);
}
void sgd(const SgdBlock<float>& block, const SgdFactors& factors) { HWY_DYNAMIC_DISPATCH(sgd_float)(block, factors); }
void sgd(const SgdBlock<double>& block, const SgdFactors& factors) { HWY_DYNAMIC_DISPATCH(sgd_double)(block, factors); }
double sum_of_squares(const float* values, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(sum_of_squares_float)(values, count);
}
double sum_of_squares(const double* values, int64_t count) {
  return HWY_DYNAMIC_DISPATCH(sum_of_squares_double)(values, count);
}

}  // namespace rondo::kernels
#endif
