// Loops over lanes and draws of dropout, once per instruction set (Highway): included by kernels after highway.h, in
// each pass of foreach_target.h. Hence the guard that is toggled, not `#pragma once`.
#if defined(TRAINER_NN_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRAINER_NN_LANES_INL_H_
#undef TRAINER_NN_LANES_INL_H_
#else
#define TRAINER_NN_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "sharding/base/random.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Calls body(d, i) for whole vectors of T, then for single elements.
template <typename T, class Body>
HWY_INLINE void for_lanes(int64_t count, const Body& body) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(d, i);
  for (; i < count; ++i) body(one, i);
}

/// Sum over i in [0, count) of the lanes that term(d, i) returns.
template <typename T, class Term>
HWY_INLINE T sum_lanes(int64_t count, const Term& term) {
  const hn::ScalableTag<T> d;
  const hn::CappedTag<T, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto even = hn::Zero(d), odd = hn::Zero(d);
  auto tail = hn::Zero(one);
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    even = hn::Add(even, term(d, i));
    odd = hn::Add(odd, term(d, i + lanes));
  }
  for (; i + lanes <= count; i += lanes) even = hn::Add(even, term(d, i));
  for (; i < count; ++i) tail = hn::Add(tail, term(one, i));
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd))) + hn::GetLane(tail);
}

/// Draws `words` of a text's stream from `first` on, as 4 * words lanes of 16 bits (DropoutSite).
HWY_INLINE void draw_lanes(uint64_t stream, int64_t first, int64_t words, uint16_t* HWY_RESTRICT out) {
  int64_t w = 0;
#if HWY_TARGET != HWY_SCALAR  // which cannot see a lane as four
  const hn::ScalableTag<uint64_t> wide;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  const auto gamma = CounterRandom::kGamma;
  const uint64_t start = stream + static_cast<uint64_t>(first) * gamma;
  const auto steps = hn::Iota(wide, 1) * hn::Set(wide, gamma);
  const hn::Repartition<uint16_t, decltype(wide)> narrow;
  for (; w + lanes <= words; w += lanes) {
    auto x = hn::Add(hn::Set(wide, start + static_cast<uint64_t>(w) * gamma), steps);
    x = hn::Xor(x, hn::ShiftRight<30>(x)) * hn::Set(wide, uint64_t{0xbf58476d1ce4e5b9ULL});
    x = hn::Xor(x, hn::ShiftRight<27>(x)) * hn::Set(wide, uint64_t{0x94d049bb133111ebULL});
    x = hn::Xor(x, hn::ShiftRight<31>(x));
    hn::StoreU(hn::BitCast(narrow, x), narrow, out + 4 * w);
  }
#endif
  for (; w < words; ++w) {
    const uint64_t bits = CounterRandom::bits_at(stream, static_cast<uint64_t>(first + w));
    for (int lane = 0; lane < 4; ++lane) out[4 * w + lane] = static_cast<uint16_t>(bits >> (16 * lane));
  }
}

/// `x` times `scale` where its draw is at least `threshold`, else 0.
template <class D, class V>
HWY_INLINE V keep_lanes(D d, V x, const uint16_t* draws, uint32_t threshold, float scale) {
  const hn::Rebind<uint16_t, D> narrow;
  const hn::Rebind<int32_t, D> wide;
  const auto drawn = hn::PromoteTo(wide, hn::LoadU(narrow, draws));
  const auto kept = hn::Not(hn::Lt(drawn, hn::Set(wide, static_cast<int32_t>(threshold))));
  return hn::IfThenElseZero(hn::RebindMask(d, kept), hn::Mul(x, hn::Set(d, scale)));
}

}  // namespace rondo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
