#include "sharding/base/half.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "sharding/base/random.h"

namespace rondo {
namespace {

constexpr CounterRandom kRandom(5, 0, RandomPurpose::kTest);
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// LibTorch's conversions are the oracle. They round to nearest, too, but do not saturate.
template <typename V>
struct Oracle;
template <>
struct Oracle<Float16> {
  using Type = c10::Half;
  static constexpr float kLargest = 65504.0F;
  static constexpr int kFirstExponent = -26, kLastExponent = 17, kPrecision = 11, kSmallestExponent = -24;
};
template <>
struct Oracle<BFloat16> {
  using Type = c10::BFloat16;
  static constexpr float kLargest = 3.38953139e38F;
  static constexpr int kFirstExponent = -135, kLastExponent = 127, kPrecision = 8, kSmallestExponent = -133;
};

template <typename V>
float by_oracle(V value) {
  return static_cast<float>(typename Oracle<V>::Type(value.bits, typename Oracle<V>::Type::from_bits_t()));
}

/// Of every magnitude, both signs.
template <typename V>
std::vector<float> some_floats(uint64_t stream) {
  std::vector<float> floats;
  for (int e = Oracle<V>::kFirstExponent; e < Oracle<V>::kLastExponent; ++e) {
    for (uint64_t i = 0; i < 200; ++i) {
      const double mantissa = kRandom.uniform(stream + static_cast<uint64_t>(e + 200), i) + 1.0;
      floats.push_back(static_cast<float>(std::ldexp(i % 2 == 0 ? mantissa : -mantissa, e)));
    }
  }
  return floats;
}

template <typename V>
class HalfTest : public ::testing::Test {};
using HalfTypes = ::testing::Types<Float16, BFloat16>;
TYPED_TEST_SUITE(HalfTest, HalfTypes);

TYPED_TEST(HalfTest, EveryCodeIsTheNumberThatItStandsFor) {
  for (uint32_t code = 0; code < 65536; ++code) {
    const TypeParam value{static_cast<uint16_t>(code)};
    const float wide = widen(value), expected = by_oracle(value);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(wide)) << code;
      EXPECT_TRUE(std::isnan(widen(nearest<TypeParam>(wide)))) << code;
      EXPECT_TRUE(std::isnan(widen(stochastic<TypeParam>(wide, 0xffffffff)))) << code;
      continue;
    }
    EXPECT_EQ(std::bit_cast<uint32_t>(wide), std::bit_cast<uint32_t>(expected)) << code;
    EXPECT_EQ(nearest<TypeParam>(wide), value);
    for (const uint32_t random : {0U, 0x80000000U, 0xffffffffU}) {
      EXPECT_EQ(stochastic<TypeParam>(wide, random), value) << code << ": what is exact stays";
    }
  }
}

TYPED_TEST(HalfTest, RoundsToNearestAsLibTorchDoes) {
  for (const float value : some_floats<TypeParam>(1)) {
    const float expected = static_cast<float>(static_cast<typename Oracle<TypeParam>::Type>(value));
    EXPECT_EQ(widen(nearest<TypeParam>(value)),
              std::isinf(expected) ? std::copysign(Oracle<TypeParam>::kLargest, value) : expected)
        << value;
  }
  for (uint16_t code = 0; code < 0x7b00; ++code) {  // ties, which go to the even neighbour
    const float low = widen(TypeParam{code}), high = widen(TypeParam{static_cast<uint16_t>(code + 1)});
    const float middle = low + (high - low) / 2;
    EXPECT_EQ(nearest<TypeParam>(middle).bits, code % 2 == 0 ? code : code + 1) << code;
    EXPECT_EQ(nearest<TypeParam>(std::nextafter(middle, kInfinity)).bits, code + 1) << code;
  }
}

TYPED_TEST(HalfTest, SaturatesAndKeepsWhatIsNotFinite) {
  const float largest = Oracle<TypeParam>::kLargest;
  for (const float value : {std::nextafter(largest, kInfinity), std::numeric_limits<float>::max()}) {
    for (const uint32_t random : {0U, 0xffffffffU}) {
      EXPECT_EQ(widen(stochastic<TypeParam>(value, random)), largest);
      EXPECT_EQ(widen(stochastic<TypeParam>(-value, random)), -largest);
    }
    EXPECT_EQ(widen(nearest<TypeParam>(value)), largest);
    EXPECT_EQ(widen(nearest<TypeParam>(-value)), -largest);
  }
  EXPECT_EQ(widen(nearest<TypeParam>(-kInfinity)), -kInfinity);
  EXPECT_EQ(widen(stochastic<TypeParam>(kInfinity, 0xffffffff)), kInfinity);
}

/// Over 4,096 evenly spread random numbers the mean is the value but for the last random bits.
TYPED_TEST(HalfTest, ExpectationOfStochasticRoundingIsTheValue) {
  constexpr int kDraws = 4096;
  for (const float value : some_floats<TypeParam>(2)) {
    if (std::abs(value) > Oracle<TypeParam>::kLargest) continue;
    double sum = 0.0;
    float lowest = kInfinity, highest = -kInfinity;
    for (uint64_t draw = 0; draw < kDraws; ++draw) {
      const float rounded = widen(stochastic<TypeParam>(value, static_cast<uint32_t>(draw << 20)));
      sum += rounded;
      lowest = std::min(lowest, rounded);
      highest = std::max(highest, rounded);
    }
    const int exponent =
        std::max(std::ilogb(value) + 1 - Oracle<TypeParam>::kPrecision, Oracle<TypeParam>::kSmallestExponent);
    const double unit = std::ldexp(1.0, exponent);  // of the last place
    EXPECT_NEAR(sum / kDraws, value, unit * 1.01 / kDraws) << value;
    EXPECT_LE(lowest, value + unit * 1.01 / kDraws);
    EXPECT_GE(highest, value - unit * 1.01 / kDraws);
    EXPECT_LE(highest - lowest, unit) << "not the neighbours of " << value;
  }
}

}  // namespace
}  // namespace rondo
