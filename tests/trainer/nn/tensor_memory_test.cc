#include "trainer/nn/tensor_memory.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <cstdint>

namespace rondo {
namespace {

at::Tensor block_of(size_t bytes) { return at::empty({static_cast<int64_t>(bytes)}, at::kByte); }

class TensorMemoryTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { keep_tensor_memory(); }
};

TEST_F(TensorMemoryTest, SizesComeInEightStepsBetweenPowersOfTwo) {
  EXPECT_EQ(tensor_block_bytes(100), 100U);
  EXPECT_EQ(tensor_block_bytes(kLeastKeptBytes), kLeastKeptBytes);
  EXPECT_EQ(tensor_block_bytes(kLeastKeptBytes + 1), kLeastKeptBytes / 8 * 9);
  for (size_t bytes = kLeastKeptBytes; bytes < 64 * kLeastKeptBytes; bytes += 99'991) {
    EXPECT_GE(tensor_block_bytes(bytes), bytes);
    EXPECT_LE(tensor_block_bytes(bytes), bytes / 8 * 9 + 8);
    EXPECT_EQ(tensor_block_bytes(tensor_block_bytes(bytes)), tensor_block_bytes(bytes));
  }
}

TEST_F(TensorMemoryTest, GivesWhatOneLetGoToAnotherOfSimilarSize) {
  at::Tensor first = block_of(10'000'000);
  const void* place = first.const_data_ptr();
  EXPECT_EQ(reinterpret_cast<uintptr_t>(place) % 64, 0U);
  const int64_t before = idle_tensor_bytes();
  first.reset();
  EXPECT_EQ(idle_tensor_bytes() - before, static_cast<int64_t>(tensor_block_bytes(10'000'064)));
  const at::Tensor second = block_of(9'900'000), third = block_of(9'900'000);
  EXPECT_EQ(second.const_data_ptr(), place);
  EXPECT_NE(third.const_data_ptr(), place);
  EXPECT_EQ(idle_tensor_bytes(), before);
}

TEST_F(TensorMemoryTest, GivesALargerBlockWhereNoneOfTheSizeIsIdle) {
  at::Tensor large = block_of(60'000'000), larger = block_of(70'000'000);
  const void *place = large.const_data_ptr(), *other = larger.const_data_ptr();
  large.reset();
  larger.reset();
  const int64_t before = idle_tensor_bytes();
  EXPECT_NE(block_of(25'000'000).const_data_ptr(), place) << "more than twice its size";
  at::Tensor half = block_of(40'000'000);
  EXPECT_EQ(half.const_data_ptr(), place) << "the smaller of two that would do";
  EXPECT_EQ(block_of(65'000'000).const_data_ptr(), other);
  half.reset();
  EXPECT_EQ(idle_tensor_bytes() - before, static_cast<int64_t>(tensor_block_bytes(25'000'064)));
  EXPECT_EQ(block_of(60'000'000).const_data_ptr(), place) << "which is still as large as it was";
}

TEST_F(TensorMemoryTest, LeavesSmallTensorsToMalloc) {
  const int64_t before = idle_tensor_bytes();
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{1000}, kLeastKeptBytes - 100}) block_of(bytes);
  EXPECT_EQ(idle_tensor_bytes(), before);
}

TEST_F(TensorMemoryTest, KeepsNoMoreThanItsBound) {
  block_of(size_t{kMostIdleBytes} + 1);
  EXPECT_LE(idle_tensor_bytes(), kMostIdleBytes);
  // Untouched, so that they cost no memory. Together they are more: what came last stays.
  block_of(static_cast<size_t>(kMostIdleBytes / 4 * 3));
  at::Tensor last = block_of(static_cast<size_t>(kMostIdleBytes / 2));
  const void* place = last.const_data_ptr();
  last.reset();
  EXPECT_LE(idle_tensor_bytes(), kMostIdleBytes);
  EXPECT_EQ(block_of(static_cast<size_t>(kMostIdleBytes / 2)).const_data_ptr(), place);
}

TEST_F(TensorMemoryTest, TensorsGrowAsBefore) {
  at::Tensor x = at::arange(200'000, at::kFloat);
  x.resize_({1'000'000});
  EXPECT_TRUE(x.narrow(0, 0, 200'000).equal(at::arange(200'000, at::kFloat)));
  EXPECT_EQ(at::ones({300, 400}).sum().item<float>(), 120'000.0F);
}

}  // namespace
}  // namespace rondo
