#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"
#include "trainer/optim/adam_w.h"
#include "trainer/optim/sgd.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

/// Awkward sizes: one element, an odd tail, more than one block, an empty one.
ParameterList make_parameters(at::ScalarType dtype) {
  ParameterList list;
  const std::vector<std::vector<int64_t>> shapes{{1}, {7, 5}, {123, 301}, {0, 4}};
  for (size_t p = 0; p < shapes.size(); ++p) {
    const std::string name = concat("p", p);
    list.push_back({name, initial_normal(shapes[p], 1.0, 3, name, dtype).requires_grad_(), p != 1});
  }
  return list;
}

void set_gradients(const ParameterList& list, int64_t step) {
  for (const NamedParameter& parameter : list) {
    at::Tensor value = parameter.value;
    value.mutable_grad() =
        initial_normal(value.sizes(), 1.0, static_cast<uint64_t>(100 + step), parameter.name, value.scalar_type());
  }
}

/// Largest difference over largest value.
double relative_difference(const at::Tensor& a, const at::Tensor& b) {
  if (a.numel() == 0) return 0.0;
  const at::Tensor exact = b.to(at::kDouble);
  return ((a.to(at::kDouble) - exact).abs().max() / exact.abs().max()).item<double>();
}

double tolerance(at::ScalarType dtype) { return dtype == at::kDouble ? 1e-13 : 2e-6; }

class OptimizerTest : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(OptimizerTest, AdamWIsTheFormulaOfItsPaper) {
  const AdamWOptions options{.learning_rate = 0.1, .beta1 = 0.8, .beta2 = 0.9, .eps = 1e-6, .weight_decay = 0.3};
  const ParameterList list = make_parameters(GetParam());
  std::vector<at::Tensor> w, m, v;
  for (const NamedParameter& parameter : list) {
    w.push_back(parameter.value.detach().to(at::kDouble).clone());
    m.push_back(at::zeros_like(w.back()));
    v.push_back(at::zeros_like(w.back()));
  }
  AdamW optimizer(list, options);
  for (int64_t step = 0; step < 5; ++step) {
    const double factor = 1.0 / static_cast<double>(1 + step);
    const double rate = options.learning_rate * factor;
    set_gradients(list, step);
    for (size_t p = 0; p < list.size(); ++p) {
      const at::Tensor g = list[p].value.grad().to(at::kDouble);
      if (list[p].decay) w[p] = w[p] - rate * options.weight_decay * w[p];
      m[p] = options.beta1 * m[p] + (1 - options.beta1) * g;
      v[p] = options.beta2 * v[p] + (1 - options.beta2) * g * g;
      const double t = static_cast<double>(step + 1);
      const at::Tensor m_hat = m[p] / (1 - std::pow(options.beta1, t));
      const at::Tensor v_hat = v[p] / (1 - std::pow(options.beta2, t));
      w[p] = w[p] - rate * m_hat / (v_hat.sqrt() + options.eps);
    }
    EXPECT_TRUE(optimizer.step({.step = step, .factor = factor}).finite);
  }
  for (size_t p = 0; p < list.size(); ++p) {
    EXPECT_LT(relative_difference(list[p].value.detach(), w[p]), tolerance(GetParam())) << list[p].name;
    EXPECT_FALSE(list[p].value.grad().defined());
    EXPECT_EQ(optimizer.state()[2 * p].name, list[p].name + ".m");
    EXPECT_LT(relative_difference(optimizer.state()[2 * p].value, m[p]), tolerance(GetParam()));
    EXPECT_EQ(optimizer.state()[2 * p + 1].name, list[p].name + ".v");
    EXPECT_LT(relative_difference(optimizer.state()[2 * p + 1].value, v[p]), tolerance(GetParam()));
  }
}

TEST_P(OptimizerTest, SgdFollowsTheGradient) {
  const SgdOptions options{.learning_rate = 0.1, .weight_decay = 0.3};
  const ParameterList list = make_parameters(GetParam());
  std::vector<at::Tensor> expected;
  set_gradients(list, 0);
  for (const NamedParameter& parameter : list) {
    const at::Tensor w = parameter.value.detach().to(at::kDouble), g = parameter.value.grad().to(at::kDouble);
    expected.push_back(w - 0.05 * (parameter.decay ? g + options.weight_decay * w : g));
  }
  Sgd optimizer(list, options);
  EXPECT_TRUE(optimizer.step({.factor = 0.5}).finite);
  EXPECT_TRUE(optimizer.state().empty());
  for (size_t p = 0; p < list.size(); ++p) {
    EXPECT_LT(relative_difference(list[p].value.detach(), expected[p]), tolerance(GetParam())) << list[p].name;
  }
}

TEST_P(OptimizerTest, RestoredStateGoesOnAsIfNothingHappened) {
  const ParameterList straight = make_parameters(GetParam());
  AdamW first(straight, {});
  for (int64_t step = 0; step < 2; ++step) {
    set_gradients(straight, step);
    first.step({.step = step});
  }
  const ParameterList resumed = make_parameters(GetParam());
  AdamW second(resumed, {});
  {
    const at::NoGradGuard no_grad;
    for (size_t p = 0; p < straight.size(); ++p) at::Tensor(resumed[p].value).copy_(straight[p].value);
    for (size_t s = 0; s < first.state().size(); ++s) {
      at::Tensor(second.state()[s].value).copy_(first.state()[s].value);
    }
  }
  for (const auto& [list, optimizer] : {std::pair{&straight, &first}, std::pair{&resumed, &second}}) {
    set_gradients(*list, 2);
    optimizer->step({.step = 2});
  }
  for (size_t p = 0; p < straight.size(); ++p) EXPECT_TRUE(straight[p].value.equal(resumed[p].value));
}

TEST_P(OptimizerTest, ClipsByTheGlobalNorm) {
  const ParameterList list = make_parameters(GetParam());
  double squares = 0.0;
  set_gradients(list, 0);
  std::vector<at::Tensor> before, gradients;
  for (const NamedParameter& parameter : list) {
    before.push_back(parameter.value.detach().clone());
    gradients.push_back(parameter.value.grad());
    squares += parameter.value.grad().to(at::kDouble).pow(2).sum().item<double>();
  }
  Sgd optimizer(list, {.learning_rate = 1.0});
  const StepVerdict verdict = optimizer.step({.max_gradient_norm = 2.0});
  EXPECT_NEAR(verdict.gradient_norm, std::sqrt(squares), 1e-6 * std::sqrt(squares));
  for (size_t p = 0; p < list.size(); ++p) {
    const at::Tensor expected = before[p] - gradients[p] * (2.0 / std::sqrt(squares));
    EXPECT_LT(relative_difference(list[p].value.detach(), expected), tolerance(GetParam()));
  }
}

TEST_P(OptimizerTest, ANonFiniteGradientChangesNothing) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const ParameterList list = make_parameters(GetParam());
    const at::Tensor before = list[2].value.detach().clone();
    set_gradients(list, 0);
    list[2].value.grad()[122][300].fill_(bad);
    AdamW optimizer(list, {});
    EXPECT_FALSE(optimizer.step({}).finite);
    EXPECT_TRUE(list[2].value.equal(before));
    EXPECT_EQ(optimizer.state()[4].value.abs().max().item<double>(), 0.0);
    EXPECT_FALSE(list[2].value.grad().defined());
  }
}

TEST_P(OptimizerTest, ResultsDoNotDependOnTheNumberOfThreads) {
  std::vector<ParameterList> results;
  std::vector<double> norms;
  for (const int count : {1, 2, 3}) {
    set_threads(count);
    results.push_back(make_parameters(GetParam()));
    AdamW optimizer(results.back(), {});
    set_gradients(results.back(), 0);
    norms.push_back(optimizer.step({.max_gradient_norm = 1.0}).gradient_norm);
  }
  set_threads(1);
  for (size_t run = 1; run < results.size(); ++run) {
    EXPECT_EQ(norms[run], norms[0]);
    for (size_t p = 0; p < results[0].size(); ++p) EXPECT_TRUE(results[run][p].value.equal(results[0][p].value));
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, OptimizerTest, ::testing::Values(at::kFloat, at::kDouble),
                         [](const auto& info) { return std::string(at::toString(info.param)); });

TEST(OptimizerErrorsTest, AMissingGradientNamesItsParameter) {
  AdamW optimizer(make_parameters(at::kFloat), {});
  try {
    optimizer.step({});
    FAIL();
  } catch (const InternalError& error) {
    EXPECT_THAT(error.what(), HasSubstr("no gradient for p0"));
  }
}

template <typename Options>
std::string refusal(const Options& options) {
  try {
    validate(options);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(OptimizerErrorsTest, OptionsOutOfRange) {
  EXPECT_EQ(refusal(AdamWOptions{}), "");
  EXPECT_EQ(refusal(AdamWOptions{.learning_rate = -1}), "adam_w: learning_rate must be 0 or more, got -1");
  EXPECT_EQ(refusal(AdamWOptions{.beta1 = 1}), "adam_w: beta1 must be in [0, 1), got 1");
  EXPECT_EQ(refusal(AdamWOptions{.beta2 = -0.5}), "adam_w: beta2 must be in [0, 1), got -0.5");
  EXPECT_EQ(refusal(AdamWOptions{.eps = 0}), "adam_w: eps must be positive, got 0");
  EXPECT_EQ(refusal(AdamWOptions{.weight_decay = std::nan("")}), "adam_w: weight_decay must be 0 or more, got nan");
  EXPECT_EQ(refusal(SgdOptions{}), "");
  EXPECT_EQ(refusal(SgdOptions{.learning_rate = INFINITY}), "sgd: learning_rate must be 0 or more, got inf");
  EXPECT_EQ(refusal(SgdOptions{.weight_decay = -1}), "sgd: weight_decay must be 0 or more, got -1");
}

}  // namespace
}  // namespace rondo
