#include "trainer/nn/layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sharding/base/check.h"

namespace rondo {
namespace {

class LayersTest : public ::testing::TestWithParam<at::ScalarType> {
 protected:
  double tolerance() const { return GetParam() == at::kDouble ? 1e-12 : 1e-5; }

  void expect_near(const at::Tensor& actual, const at::Tensor& expected, const std::string& what) const {
    ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
    EXPECT_LT((actual - expected).abs().max().item<double>(), tolerance()) << what;
  }

  Initializer start() const { return {.standard_deviation = 0.5, .seed = 4, .dtype = GetParam()}; }
  at::Tensor tensor(at::IntArrayRef shape, const std::string& name) const {
    return initial_normal(shape, 1.0, 17, name, GetParam());
  }
};

TEST_P(LayersTest, LinearIsAProductAndABias) {
  const Linear layer("layer", 5, 3, start());
  const at::Tensor x = tensor({130, 5}, "x").requires_grad_(), direction = tensor({130, 3}, "direction");
  const at::Tensor y = layer.forward(x);
  expect_near(y, at::matmul(x, layer.weight.t()) + layer.bias, "output");
  (y * direction).sum().backward();
  expect_near(x.grad(), at::matmul(direction, layer.weight), "x");
  expect_near(layer.weight.grad(), at::matmul(direction.t(), x), "weight");
  expect_near(layer.bias.grad(), direction.sum(0), "bias");
}

TEST_P(LayersTest, AProductLeavesTheBiasToOthers) {
  const Linear layer("layer", 5, 3, start());
  const at::Tensor x = tensor({130, 5}, "x").requires_grad_(), direction = tensor({130, 3}, "direction");
  const at::Tensor y = layer.product(x);
  expect_near(y, at::matmul(x, layer.weight.t()), "output");
  (y * direction).sum().backward();
  expect_near(x.grad(), at::matmul(direction, layer.weight), "x");
  expect_near(layer.weight.grad(), at::matmul(direction.t(), x), "weight");
  EXPECT_FALSE(layer.bias.grad().defined());
}

TEST_P(LayersTest, FrozenWeightsPassTheGradientOn) {
  const Linear layer("layer", 5, 3, start());
  at::Tensor(layer.weight).set_requires_grad(false);
  at::Tensor(layer.bias).set_requires_grad(false);
  const at::Tensor x = tensor({4, 5}, "x").requires_grad_(), direction = tensor({4, 3}, "direction");
  ((layer.forward(x) + layer.product(x)) * direction).sum().backward();
  expect_near(x.grad(), at::matmul(direction, layer.weight) * 2, "x");
  EXPECT_FALSE(layer.weight.grad().defined());
}

TEST_P(LayersTest, QueryKeyAndValueAreThreeLayers) {
  const QueryKeyValue joined("attention", 6, start());
  const at::Tensor x = tensor({70, 6}, "x").requires_grad_(), direction = tensor({70, 18}, "direction");
  {
    // Restored in place: the block must follow.
    const at::NoGradGuard no_grad;
    for (const Linear* layer : {&joined.query, &joined.key, &joined.value}) {
      at::Tensor(layer->weight).copy_(layer->weight * 2);
      at::Tensor(layer->bias).copy_(tensor({6}, "bias"));
    }
  }
  const at::Tensor y = joined.forward(x);
  const at::Tensor expected = at::cat({joined.query.forward(x), joined.key.forward(x), joined.value.forward(x)}, 1);
  expect_near(y, expected, "output");
  const auto gradients = [&](const at::Tensor& out) {
    (out * direction).sum().backward();
    std::vector<at::Tensor> result;
    for (at::Tensor leaf : {x, joined.query.weight, joined.query.bias, joined.key.weight, joined.key.bias,
                            joined.value.weight, joined.value.bias}) {
      result.push_back(leaf.grad().clone());
      leaf.mutable_grad().reset();
    }
    return result;
  };
  const auto actual = gradients(y), wanted = gradients(expected);
  for (size_t i = 0; i < actual.size(); ++i) expect_near(actual[i], wanted[i], concat("gradient ", i));
}

TEST_P(LayersTest, InitialValuesFollowTheirNameAlone) {
  const at::Tensor a = initial_normal({40, 50}, 0.1, 4, "a", GetParam());
  EXPECT_TRUE(a.equal(initial_normal({40, 50}, 0.1, 4, "a", GetParam())));
  EXPECT_TRUE(a.equal(initial_normal({40, 50}, 0.1, 4, "a", at::kDouble).to(GetParam())));
  EXPECT_FALSE(a.equal(initial_normal({40, 50}, 0.1, 4, "b", GetParam())));
  EXPECT_FALSE(a.equal(initial_normal({40, 50}, 0.1, 5, "a", GetParam())));
  EXPECT_NEAR(a.pow(2).mean().sqrt().item<double>(), 0.1, 0.007);
  EXPECT_EQ(initial_normal({0, 3}, 0.1, 4, "a", GetParam()).numel(), 0);
}

INSTANTIATE_TEST_SUITE_P(Dtypes, LayersTest, ::testing::Values(at::kFloat, at::kDouble),
                         [](const auto& info) { return std::string(at::toString(info.param)); });

}  // namespace
}  // namespace rondo
