// The conversions of half.h on vectors of fp32, bit for bit, once per instruction set (Highway): included by kernels
// after highway.h, in each pass of foreach_target.h. Hence the guard that is toggled, not `#pragma once`.
#if defined(SHARDING_BASE_HALF_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SHARDING_BASE_HALF_LANES_INL_H_
#undef SHARDING_BASE_HALF_LANES_INL_H_
#else
#define SHARDING_BASE_HALF_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "sharding/base/half.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::half::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
using Bits = hn::Vec<hn::RebindToUnsigned<D>>;
template <class D>
using Words = hn::Vec<hn::Rebind<uint16_t, D>>;

template <class D>
HWY_INLINE Bits<D> constant(D d, uint32_t value) {
  return hn::Set(hn::RebindToUnsigned<D>(), value);
}

/// Of magnitudes, which have no sign bit.
template <class D>
HWY_INLINE auto above(D d, Bits<D> magnitude, uint32_t limit) {
  const hn::RebindToSigned<D> signed_bits;
  const auto mask = hn::Gt(hn::BitCast(signed_bits, magnitude), hn::Set(signed_bits, static_cast<int32_t>(limit)));
  return hn::RebindMask(hn::RebindToUnsigned<D>(), mask);
}

template <class D>
HWY_INLINE Words<D> pack(D d, Bits<D> bits, Bits<D> magnitude, Bits<D> rounded) {
  const auto sign = hn::ShiftRight<16>(hn::Xor(bits, magnitude));
  return hn::DemoteTo(hn::Rebind<uint16_t, D>(), hn::BitCast(hn::RebindToSigned<D>(), hn::Or(sign, rounded)));
}

/// Lanes that rounding does not decide take what special_float16 and special_bfloat16 say.
template <class D>
HWY_INLINE Bits<D> with_specials(D d, Float16, Bits<D> magnitude, Bits<D> rounded) {
  const auto nan = hn::Or(constant(d, 0x7e00), hn::And(hn::ShiftRight<13>(magnitude), constant(d, 0x3ff)));
  rounded = hn::IfThenElse(above(d, magnitude, kLargestFloat16), constant(d, 0x7bff), rounded);
  rounded = hn::IfThenElse(above(d, magnitude, kFloatInfinity - 1), constant(d, 0x7c00), rounded);
  return hn::IfThenElse(above(d, magnitude, kFloatInfinity), nan, rounded);
}
template <class D>
HWY_INLINE Bits<D> with_specials(D d, BFloat16, Bits<D> magnitude, Bits<D> rounded) {
  const auto nan = hn::Or(constant(d, 0x40), hn::ShiftRight<16>(magnitude));
  rounded = hn::IfThenElse(above(d, magnitude, kLargestBFloat16), constant(d, 0x7f7f), rounded);
  rounded = hn::IfThenElse(above(d, magnitude, kFloatInfinity - 1), constant(d, 0x7f80), rounded);
  return hn::IfThenElse(above(d, magnitude, kFloatInfinity), nan, rounded);
}

/// The magnitude in units of the last place of subnormal Float16; of no meaning for larger ones.
template <class D>
HWY_INLINE hn::Vec<D> subnormal_units(D d, Bits<D> magnitude) {
  const auto smallest = hn::Min(magnitude, constant(d, kSmallestNormalFloat16));
  return hn::Mul(hn::BitCast(d, smallest), hn::Set(d, 0x1p24F));
}

template <class D>
HWY_INLINE Bits<D> nearest_bits(D d, Float16, Bits<D> magnitude) {
  const auto odd = hn::And(hn::ShiftRight<13>(magnitude), constant(d, 1));
  const auto offset = hn::Add(constant(d, 0xfff - kFloat16Rebias), odd);
  const auto normal = hn::ShiftRight<13>(hn::Add(magnitude, offset));
  const auto shifted = hn::Add(subnormal_units(d, magnitude), hn::Set(d, 0x1p23F));
  const auto tiny = hn::Sub(hn::BitCast(hn::RebindToUnsigned<D>(), shifted), constant(d, 0x4b000000));
  return hn::IfThenElse(above(d, magnitude, kSmallestNormalFloat16 - 1), normal, tiny);
}
template <class D>
HWY_INLINE Bits<D> nearest_bits(D d, BFloat16, Bits<D> magnitude) {
  const auto odd = hn::And(hn::ShiftRight<16>(magnitude), constant(d, 1));
  return hn::ShiftRight<16>(hn::Add(hn::Add(magnitude, constant(d, 0x7fff)), odd));
}

template <class D>
HWY_INLINE Bits<D> stochastic_bits(D d, Float16, Bits<D> magnitude, Bits<D> random) {
  const hn::RebindToSigned<D> whole;
  const auto offset = hn::Sub(hn::ShiftRight<19>(random), constant(d, kFloat16Rebias));
  const auto normal = hn::ShiftRight<13>(hn::Add(magnitude, offset));
  const auto units = subnormal_units(d, magnitude);
  const auto floor = hn::ConvertTo(whole, units);
  const auto fraction = hn::Sub(units, hn::ConvertTo(d, floor));
  const auto drawn = hn::Mul(hn::ConvertTo(d, hn::BitCast(whole, hn::ShiftRight<8>(random))), hn::Set(d, 0x1p-24F));
  const auto up = hn::IfThenElseZero(hn::RebindMask(whole, hn::Lt(drawn, fraction)), hn::Set(whole, 1));
  const auto tiny = hn::BitCast(hn::RebindToUnsigned<D>(), hn::Add(floor, up));
  return hn::IfThenElse(above(d, magnitude, kSmallestNormalFloat16 - 1), normal, tiny);
}
template <class D>
HWY_INLINE Bits<D> stochastic_bits(D d, BFloat16, Bits<D> magnitude, Bits<D> random) {
  return hn::ShiftRight<16>(hn::Add(magnitude, hn::ShiftRight<16>(random)));
}

/// nearest<V> of each lane.
template <typename V, class D>
HWY_INLINE Words<D> nearest_lanes(D d, hn::Vec<D> values) {
  const auto bits = hn::BitCast(hn::RebindToUnsigned<D>(), values), magnitude = hn::And(bits, constant(d, ~kFloatSign));
  return pack(d, bits, magnitude, with_specials(d, V{}, magnitude, nearest_bits(d, V{}, magnitude)));
}

/// stochastic<V> of each lane.
template <typename V, class D>
HWY_INLINE Words<D> stochastic_lanes(D d, hn::Vec<D> values, Bits<D> random) {
  const auto bits = hn::BitCast(hn::RebindToUnsigned<D>(), values), magnitude = hn::And(bits, constant(d, ~kFloatSign));
  return pack(d, bits, magnitude, with_specials(d, V{}, magnitude, stochastic_bits(d, V{}, magnitude, random)));
}

/// widen of each lane.
template <class D>
HWY_INLINE hn::Vec<D> widen_lanes(D d, BFloat16, Words<D> words) {
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(hn::RebindToUnsigned<D>(), words)));
}
template <class D>
HWY_INLINE hn::Vec<D> widen_lanes(D d, Float16, Words<D> words) {
  const auto bits = hn::PromoteTo(hn::RebindToUnsigned<D>(), words);
  const auto magnitude = hn::And(bits, constant(d, 0x7fff));
  const auto shifted = hn::ShiftLeft<13>(magnitude);
  const auto tiny = hn::Mul(hn::ConvertTo(d, hn::BitCast(hn::RebindToSigned<D>(), magnitude)), hn::Set(d, 0x1p-24F));
  auto wide = hn::Add(shifted, constant(d, kFloat16Rebias));
  wide = hn::IfThenElse(above(d, magnitude, 0x3ff), wide, hn::BitCast(hn::RebindToUnsigned<D>(), tiny));
  wide = hn::IfThenElse(above(d, magnitude, 0x7bff), hn::Or(shifted, constant(d, kFloatInfinity)), wide);
  wide = hn::IfThenElse(above(d, magnitude, 0x7c00), hn::Or(wide, constant(d, 0x400000)), wide);
  return hn::BitCast(d, hn::Or(wide, hn::ShiftLeft<16>(hn::Xor(bits, magnitude))));
}

}  // namespace rondo::half::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
