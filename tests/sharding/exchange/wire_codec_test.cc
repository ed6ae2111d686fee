#include "sharding/exchange/wire_codec.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "sharding/base/error.h"
#include "sharding/base/half.h"
#include "sharding/base/random.h"
#include "tests/support/each_target.h"

namespace rondo {
namespace {

template <typename V>
constexpr at::ScalarType kTypeOf = std::is_same_v<V, Float16> ? at::kHalf : at::kBFloat16;

/// Patterns of all exponents and signs, NaN and infinity with them; the odd count leaves a rest after whole vectors.
std::vector<float> patterns() {
  constexpr CounterRandom kRandom(7, 0, RandomPurpose::kTest);
  std::vector<float> floats{0.0F, -0.0F, 65504.0F, 65520.0F, 1e-8F, std::numeric_limits<float>::infinity()};
  for (uint64_t i = 0; i < 200'001; ++i) {
    floats.push_back(std::bit_cast<float>(static_cast<uint32_t>(kRandom.bits(1, i))));
    floats.push_back(static_cast<float>(kRandom.normal(2, i) * 1e-5));
  }
  return floats;
}

template <typename V>
class WireCodecTest : public ::testing::Test {};
using HalfTypes = ::testing::Types<Float16, BFloat16>;
TYPED_TEST_SUITE(WireCodecTest, HalfTypes);

TYPED_TEST(WireCodecTest, IsTheScalarDefinitionBitForBit) {
  const std::vector<float> floats = patterns();
  testing::for_each_target([&] {
    std::vector<TypeParam> narrow(floats.size());
    number_copy(at::kFloat, kTypeOf<TypeParam>)(floats.data(), narrow.data(), static_cast<int64_t>(floats.size()));
    for (size_t i = 0; i < floats.size(); ++i) {
      ASSERT_EQ(narrow[i].bits, nearest<TypeParam>(floats[i]).bits) << std::bit_cast<uint32_t>(floats[i]);
    }
    std::vector<TypeParam> codes(65536 + 3);
    for (size_t i = 0; i < codes.size(); ++i) codes[i].bits = static_cast<uint16_t>(i);
    std::vector<float> wide(codes.size());
    number_copy(kTypeOf<TypeParam>, at::kFloat)(codes.data(), wide.data(), static_cast<int64_t>(codes.size()));
    for (size_t i = 0; i < codes.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(widen(codes[i]))) << i;
    }
  });
}

TEST(NumberCopy, OfOneTypeMovesBytesAndOfTwoHalvesGoesThroughFp32) {
  const std::vector<double> doubles{1.0, -2.5, 1e300};
  std::vector<double> copied(3);
  number_copy(at::kDouble, at::kDouble)(doubles.data(), copied.data(), 3);
  EXPECT_EQ(copied, doubles);
  std::vector<Float16> halves(700);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = nearest<Float16>(0.37F * static_cast<float>(i));
  std::vector<BFloat16> others(halves.size());
  number_copy(at::kHalf, at::kBFloat16)(halves.data(), others.data(), static_cast<int64_t>(halves.size()));
  for (size_t i = 0; i < halves.size(); ++i) EXPECT_EQ(others[i], nearest<BFloat16>(widen(halves[i]))) << i;
}

TEST(NumberCopy, RefusesTypesThatRowsDoNotHave) {
  EXPECT_THROW(number_copy(at::kDouble, at::kFloat), InternalError);
  EXPECT_THROW(number_copy(at::kLong, at::kLong), InternalError);
  EXPECT_THROW(wire_type(WireCodec::kFloat16, at::kDouble), InternalError);
  EXPECT_EQ(wire_type(WireCodec::kNone, at::kBFloat16), at::kBFloat16);
  EXPECT_EQ(wire_type(WireCodec::kBFloat16, at::kHalf), at::kBFloat16);
}

}  // namespace
}  // namespace rondo
