#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "sharding/base/host_device.h"

namespace rondo {

/// Numbers of 16 bits that rows are kept in and that messages carry: IEEE binary16 (11 bits of precision, 6e-8 to
/// 65504) and bfloat16 (8 bits, the range of fp32). They are computed with in fp32.
///
/// Rounding keeps NaN (quiet, with the top of its payload) and infinity, and saturates: a finite number stays finite.
/// The functions below are the definition that the vectorised loops repeat bit for bit.
struct Float16 {
  uint16_t bits;
  friend bool operator==(Float16, Float16) = default;
};
struct BFloat16 {
  uint16_t bits;
  friend bool operator==(BFloat16, BFloat16) = default;
};

/// What a type is computed with.
template <typename V>
using ComputeType = std::conditional_t<std::is_same_v<V, double>, double, float>;

/// Bit patterns of fp32 magnitudes.
inline constexpr uint32_t kFloatSign = 0x80000000, kFloatInfinity = 0x7f800000;
inline constexpr uint32_t kLargestFloat16 = 0x477fe000, kSmallestNormalFloat16 = 0x38800000;
inline constexpr uint32_t kLargestBFloat16 = 0x7f7f0000;
inline constexpr uint32_t kFloat16Rebias = (127 - 15) << 23;

RONDO_HOST_DEVICE inline float widen(float value) { return value; }
RONDO_HOST_DEVICE inline double widen(double value) { return value; }

RONDO_HOST_DEVICE inline float widen(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16);
}

RONDO_HOST_DEVICE inline float widen(Float16 value) {
  const uint32_t sign = (value.bits & 0x8000U) << 16, magnitude = value.bits & 0x7fffU;
  if (magnitude > 0x7c00) return std::bit_cast<float>(sign | kFloatInfinity | 0x400000U | (magnitude & 0x3ffU) << 13);
  if (magnitude == 0x7c00) return std::bit_cast<float>(sign | kFloatInfinity);
  if (magnitude >= 0x400) return std::bit_cast<float>(sign | ((magnitude << 13) + kFloat16Rebias));
  const float tiny = static_cast<float>(magnitude) * 0x1p-24F;
  return sign != 0 ? -tiny : tiny;
}

namespace detail {

/// The 16 bits of a magnitude that rounding does not decide; 0 for others.
RONDO_HOST_DEVICE inline uint32_t special_float16(uint32_t magnitude) {
  if (magnitude > kFloatInfinity) return 0x7e00U | (magnitude >> 13 & 0x3ffU);
  if (magnitude == kFloatInfinity) return 0x7c00;
  return magnitude > kLargestFloat16 ? 0x7bff : 0;
}
RONDO_HOST_DEVICE inline uint32_t special_bfloat16(uint32_t magnitude) {
  if (magnitude > kFloatInfinity) return magnitude >> 16 | 0x40U;
  if (magnitude == kFloatInfinity) return 0x7f80;
  return magnitude > kLargestBFloat16 ? 0x7f7f : 0;
}

}  // namespace detail

/// To nearest, ties to even.
template <typename V>
RONDO_HOST_DEVICE V nearest(float value);

template <>
RONDO_HOST_DEVICE inline Float16 nearest(float value) {
  const auto bits = std::bit_cast<uint32_t>(value), magnitude = bits & ~kFloatSign;
  uint32_t rounded = detail::special_float16(magnitude);
  if (rounded == 0 && magnitude < kSmallestNormalFloat16) {
    const float units = std::bit_cast<float>(magnitude) * 0x1p24F;     // of the last place
    rounded = std::bit_cast<uint32_t>(units + 0x1p23F) - 0x4b000000U;  // where fp32 has no fraction
  } else if (rounded == 0) {
    rounded = (magnitude - kFloat16Rebias + 0xfffU + (magnitude >> 13 & 1U)) >> 13;
  }
  return {static_cast<uint16_t>((bits & kFloatSign) >> 16 | rounded)};
}

template <>
RONDO_HOST_DEVICE inline BFloat16 nearest(float value) {
  const auto bits = std::bit_cast<uint32_t>(value), magnitude = bits & ~kFloatSign;
  uint32_t rounded = detail::special_bfloat16(magnitude);
  if (rounded == 0) rounded = (magnitude + 0x7fffU + (magnitude >> 16 & 1U)) >> 16;
  return {static_cast<uint16_t>((bits & kFloatSign) >> 16 | rounded)};
}

/// To one of the two neighbours, by 32 random bits: the expectation is the value. What is exact stays.
template <typename V>
RONDO_HOST_DEVICE V stochastic(float value, uint32_t random);

template <>
RONDO_HOST_DEVICE inline Float16 stochastic(float value, uint32_t random) {
  const auto bits = std::bit_cast<uint32_t>(value), magnitude = bits & ~kFloatSign;
  uint32_t rounded = detail::special_float16(magnitude);
  if (rounded == 0 && magnitude < kSmallestNormalFloat16) {
    const float units = std::bit_cast<float>(magnitude) * 0x1p24F;
    rounded = static_cast<uint32_t>(units);
    const float fraction = units - static_cast<float>(rounded);
    if (static_cast<float>(random >> 8) * 0x1p-24F < fraction) ++rounded;
  } else if (rounded == 0) {
    rounded = (magnitude - kFloat16Rebias + (random >> 19)) >> 13;
  }
  return {static_cast<uint16_t>((bits & kFloatSign) >> 16 | rounded)};
}

template <>
RONDO_HOST_DEVICE inline BFloat16 stochastic(float value, uint32_t random) {
  const auto bits = std::bit_cast<uint32_t>(value), magnitude = bits & ~kFloatSign;
  uint32_t rounded = detail::special_bfloat16(magnitude);
  if (rounded == 0) rounded = (magnitude + (random >> 16)) >> 16;
  return {static_cast<uint16_t>((bits & kFloatSign) >> 16 | rounded)};
}

}  // namespace rondo
