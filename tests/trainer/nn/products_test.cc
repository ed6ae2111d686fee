#include "trainer/nn/products.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "sharding/base/check.h"
#include "trainer/nn/layers.h"
#include "trainer/optim/adam_w.h"
#include "trainer/optim/sgd.h"

namespace rondo {
namespace {

at::Tensor random_tensor(at::IntArrayRef shape, const std::string& name) {
  return initial_normal(shape, 1.0, 17, name, at::kFloat);
}

/// Largest difference over largest value, from a product in fp64.
double error(const at::Tensor& actual, const at::Tensor& left, const at::Tensor& right) {
  const at::Tensor expected = at::matmul(left.to(at::kDouble), right.to(at::kDouble));
  EXPECT_EQ(actual.sizes(), expected.sizes());
  EXPECT_EQ(actual.scalar_type(), at::kFloat);
  if (expected.numel() == 0) return 0.0;
  return ((actual.to(at::kDouble) - expected).abs().max() / expected.abs().max()).item<double>();
}

class ProductsTest : public ::testing::TestWithParam<ProductPrecision> {};

TEST_P(ProductsTest, AreTheirFactorsProductsWithSumsInFp32) {
  for (const int64_t rows : {1, 7, 16, 33, 448}) {
    SCOPED_TRACE(rows);
    const int64_t in = 48, out = 80;
    const at::Tensor x = as_factor(random_tensor({rows, in}, "x"), GetParam());
    const at::Tensor weight = as_factor(random_tensor({out, in}, "weight"), GetParam());
    const at::Tensor gradient = as_factor(random_tensor({rows, out}, "gradient"), GetParam());
    const at::Tensor bias = random_tensor({out}, "bias");
    EXPECT_LT(error(linear_product(x, weight, {}), x, weight.t()), 1e-6);
    EXPECT_LT(error(linear_product(x, weight, bias) - bias, x, weight.t()), 1e-6);
    EXPECT_LT(error(input_gradient(gradient, weight), gradient, weight), 1e-6);
    EXPECT_LT(error(weight_gradient(gradient, x), gradient.t(), x), 1e-6);
  }
}

TEST_P(ProductsTest, OfNoRowsAreEmptyOrZero) {
  const at::Tensor x = as_factor(random_tensor({0, 48}, "x"), GetParam());
  const at::Tensor weight = as_factor(random_tensor({80, 48}, "weight"), GetParam());
  const at::Tensor gradient = as_factor(random_tensor({0, 80}, "gradient"), GetParam());
  EXPECT_EQ(linear_product(x, weight, {}).sizes(), (std::vector<int64_t>{0, 80}));
  EXPECT_EQ(input_gradient(gradient, weight).sizes(), (std::vector<int64_t>{0, 48}));
  const at::Tensor zeros = weight_gradient(gradient, x);
  EXPECT_EQ(zeros.sizes(), (std::vector<int64_t>{80, 48}));
  EXPECT_EQ(zeros.abs().max().item<float>(), 0.0F);
}

TEST_P(ProductsTest, OfALayerAreRoundedOnceForBothWays) {
  const Linear layer("layer", 48, 32, {.standard_deviation = 0.5, .seed = 4, .products = GetParam()});
  const at::Tensor x = random_tensor({21, 48}, "x").requires_grad_(), direction = random_tensor({21, 32}, "direction");
  const auto rounded = [](const at::Tensor& tensor) { return as_factor(tensor.detach(), GetParam()); };
  const at::Tensor y = layer.forward(x);
  EXPECT_LT(error(y.detach() - layer.bias.detach(), rounded(x), rounded(layer.weight).t()), 1e-6);
  (y * direction).sum().backward();
  EXPECT_LT(error(x.grad(), rounded(direction), rounded(layer.weight)), 1e-6);
  EXPECT_LT(error(layer.weight.grad(), rounded(direction).t(), rounded(x)), 1e-6);
  EXPECT_LT((layer.bias.grad() - direction.sum(0)).abs().max().item<double>(), 1e-5);
}

INSTANTIATE_TEST_SUITE_P(Precisions, ProductsTest,
                         ::testing::Values(ProductPrecision::kFloat32, ProductPrecision::kBFloat16),
                         [](const auto& info) { return info.param == ProductPrecision::kFloat32 ? "fp32" : "bf16"; });

constexpr double kRounding = 0x1p-8;  // of a value to bf16, whose significand has 8 bits, over the value

class KeptWeightTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!KeptWeight::serves(layer.weight, layer.precision)) GTEST_SKIP() << "oneDNN cannot be used";
  }

  static at::Tensor rounded(const at::Tensor& x) {
    return as_factor(x.detach(), ProductPrecision::kBFloat16).to(at::kDouble);
  }

  const Initializer start{.standard_deviation = 0.5, .seed = 4, .products = ProductPrecision::kBFloat16};
  const Linear layer{"layer", 96, 200, start};
};

TEST_F(KeptWeightTest, GivesTheProductsOfTraining) {
  const at::NoGradGuard no_grad;
  layer.bias.copy_(random_tensor({200}, "bias"));
  for (const int64_t rows : {0, 1, 16, 21, 448}) {
    SCOPED_TRACE(rows);
    const at::Tensor x = random_tensor({rows, 96}, "x");
    EXPECT_LT(error(layer.product(x), rounded(x), rounded(layer.weight).t()), 1e-6);
    EXPECT_LT(error(layer.forward(x) - layer.bias, rounded(x), rounded(layer.weight).t()), 1e-6);
    const at::Tensor sum = at::matmul(rounded(x), rounded(layer.weight).t()) + layer.bias.to(at::kDouble);
    const at::Tensor expected = at::gelu(sum), actual = layer.gelu(x).to(at::kDouble);
    ASSERT_EQ(actual.sizes(), expected.sizes());
    // One rounding, and 1e-5 for sums and the tail of erf.
    EXPECT_TRUE(((actual - expected).abs() <= expected.abs() * kRounding + 1e-5).all().item<bool>());
  }
}

TEST_F(KeptWeightTest, FeedsTheNextProductWithWhatItRounded) {
  const at::NoGradGuard no_grad;
  const Linear next("next", 200, 96, start);
  const at::Tensor hidden = layer.gelu(random_tensor({21, 96}, "x"));
  EXPECT_LT(error(next.product(hidden), hidden.to(at::kFloat), rounded(next.weight).t()), 1e-6);
}

TEST_F(KeptWeightTest, FollowsItsWeight) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = random_tensor({21, 96}, "x");
  const Linear copy = layer;
  const at::Tensor before = copy.forward(x);
  layer.weight.mul_(2.0);
  EXPECT_TRUE(copy.forward(x).equal(before * 2.0)) << "a power of two changes no bit of a sum";
  AdamW optimizer({{"weight", layer.weight, true}}, {.learning_rate = 0.1});
  layer.weight.mutable_grad() = random_tensor({200, 96}, "gradient");
  ASSERT_TRUE(optimizer.step({.step = 0}).finite);
  EXPECT_LT(error(copy.forward(x), rounded(x), rounded(layer.weight).t()), 1e-6);
  Sgd descent({{"weight", layer.weight, true}}, {.learning_rate = 0.1});
  layer.weight.mutable_grad() = random_tensor({200, 96}, "gradient");
  ASSERT_TRUE(descent.step({.step = 1}).finite);
  EXPECT_LT(error(copy.forward(x), rounded(x), rounded(layer.weight).t()), 1e-6);
}

TEST_F(KeptWeightTest, FollowsThePartsOfABlock) {
  const at::NoGradGuard no_grad;
  const QueryKeyValue block("block", 48, start);
  const at::Tensor x = random_tensor({21, 48}, "x"), before = block.forward(x);
  block.key.weight.copy_(block.key.weight * 2.0);
  const at::Tensor after = block.forward(x);
  EXPECT_TRUE(after.narrow(1, 48, 48).equal(before.narrow(1, 48, 48) * 2.0));
  EXPECT_TRUE(after.narrow(1, 0, 48).equal(before.narrow(1, 0, 48)));
}

uint16_t bits(const at::Tensor& x, int64_t i) {
  uint16_t result = 0;
  std::memcpy(&result, static_cast<const char*>(x.const_data_ptr()) + 2 * i, sizeof(result));
  return result;
}

TEST(AsFactor, RoundsToTheNearestWithTiesToEven) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> values = {0.0F,       -0.0F,     1.0F,       1.00390625F, 1.01171875F, -1.00390625F,
                               3.4028e38F, kInfinity, -kInfinity, 1e-40F,      -3e38F};
  values.resize(33, 0.1F);  // whole vectors and what is left of one
  const at::Tensor x = at::tensor(values).view({3, 11});
  const at::Tensor rounded = as_factor(x, ProductPrecision::kBFloat16), expected = x.to(at::kBFloat16);
  for (int64_t i = 0; i < 33; ++i) EXPECT_EQ(bits(rounded, i), bits(expected, i)) << values[static_cast<size_t>(i)];
}

TEST(AsFactor, KeepsNaN) {
  uint32_t lowest_bits = 0x7f800001, all_bits = 0xffffffff;  // which rounding would carry away
  std::vector<float> values(18, 1.0F);
  std::memcpy(&values[0], &lowest_bits, sizeof(float));
  std::memcpy(&values[17], &all_bits, sizeof(float));
  const at::Tensor rounded = as_factor(at::tensor(values).view({1, 18}), ProductPrecision::kBFloat16);
  const std::vector<int64_t> wanted = {0, 17};
  for (const int64_t i : wanted) EXPECT_TRUE(rounded.view({18})[i].to(at::kFloat).isnan().item<bool>()) << i;
  EXPECT_EQ(rounded.isnan().sum().item<int64_t>(), 2);
}

TEST(AsFactor, LeavesDoublesAlone) {
  const at::Tensor x = random_tensor({3, 5}, "x").to(at::kDouble);
  EXPECT_TRUE(as_factor(x, ProductPrecision::kBFloat16).is_same(x));
}

TEST(AsFactor, MustHaveMadeWhatProductsRead) {
  const at::Tensor x = random_tensor({3, 16}, "x").to(at::kBFloat16), weight = random_tensor({8, 16}, "w");
  EXPECT_ANY_THROW(linear_product(x, as_factor(weight, ProductPrecision::kBFloat16), {}));
}

}  // namespace
}  // namespace rondo
