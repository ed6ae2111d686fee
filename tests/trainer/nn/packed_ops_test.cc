#include "trainer/nn/packed_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "trainer/nn/fused_ops.h"
#include "trainer/nn/plain_ops.h"

namespace rondo {
namespace {

constexpr int64_t kVocabulary = 37;
constexpr int64_t kPositions = 80;

/// Texts of the given lengths, tokens as a function of the seed.
PackedRowsPtr make_rows(const std::vector<int64_t>& lengths) {
  const CounterRandom random(11, 0, RandomPurpose::kTest);
  std::vector<int32_t> tokens;
  std::vector<int64_t> offsets{0};
  std::vector<uint64_t> digests;
  for (size_t t = 0; t < lengths.size(); ++t) {
    for (int64_t i = 0; i < lengths[t]; ++i) {
      tokens.push_back(static_cast<int32_t>(random.below(kVocabulary, t, static_cast<uint64_t>(i))));
    }
    offsets.push_back(static_cast<int64_t>(tokens.size()));
    digests.push_back(random.bits(t, 1000));
  }
  return make_packed_rows(tokens, offsets, digests);
}

/// A function of some tensors, by kernels in fp32 and by ATen in fp64.
using Operation = std::function<at::Tensor(const std::vector<at::Tensor>& inputs, bool fused)>;

at::Tensor random_tensor(at::IntArrayRef shape, const std::string& name) {
  return initial_normal(shape, 1.0, 17, name, at::kDouble);
}

struct Outcome {
  at::Tensor out;
  std::vector<at::Tensor> gradients;
};

Outcome run(const Operation& operation, const std::vector<at::Tensor>& inputs, bool fused) {
  std::vector<at::Tensor> leaves;
  leaves.reserve(inputs.size());
  for (const at::Tensor& input : inputs) {
    leaves.push_back(input.to(fused ? at::kFloat : at::kDouble).clone().requires_grad_());
  }
  Outcome outcome;
  outcome.out = operation(leaves, fused);
  (outcome.out * random_tensor(outcome.out.sizes(), "direction").to(outcome.out.scalar_type())).sum().backward();
  for (const at::Tensor& leaf : leaves) outcome.gradients.push_back(leaf.grad());
  outcome.out = outcome.out.detach();
  return outcome;
}

/// Largest difference over the larger of 1 and the largest value.
double difference(const at::Tensor& actual, const at::Tensor& expected) {
  EXPECT_EQ(actual.sizes(), expected.sizes());
  if (actual.numel() == 0) return 0.0;
  const double scale = std::max(1.0, expected.abs().max().item<double>());
  return (actual.to(at::kDouble) - expected).abs().max().item<double>() / scale;
}

/// Kernels against ATen in value and gradients, with gradients off, and over numbers of threads, bit for bit.
void check(const Operation& operation, const std::vector<at::Tensor>& inputs, const std::string& what) {
  const Outcome expected = run(operation, inputs, false);
  const Outcome actual = run(operation, inputs, true);
  EXPECT_LT(difference(actual.out, expected.out), 2e-6) << what;
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_LT(difference(actual.gradients[i], expected.gradients[i]), 5e-6) << what << ", input " << i;
  }
  {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> single;
    single.reserve(inputs.size());
    for (const at::Tensor& input : inputs) single.push_back(input.to(at::kFloat));
    EXPECT_TRUE(operation(single, true).equal(actual.out)) << what << ", without gradients";
  }
  for (const int count : {2, 3}) {
    set_threads(count);
    const Outcome again = run(operation, inputs, true);
    EXPECT_TRUE(again.out.equal(actual.out)) << what << ", threads " << count;
    for (size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_TRUE(again.gradients[i].equal(actual.gradients[i])) << what << ", input " << i << ", threads " << count;
    }
  }
  set_threads(1);
}

/// Widths around whole vectors of any instruction set; texts of one row, of many, none at all.
const std::vector<int64_t> kWidths{1, 3, 16, 37, 128};
const std::vector<std::vector<int64_t>> kBatches{{}, {1}, {5, 1, 17, 2, 64, 33, 12, 12, 7, 15, 16, 3}};

PackedDropout dropout_of(const PackedRowsPtr& rows, double probability) {
  return {rows, DropoutSite(probability, {.seed = 3, .step = 5, .training = true}, 9)};
}

void for_each_case(const std::function<void(int64_t, const PackedDropout&, const std::string&)>& body) {
  for (const auto& lengths : kBatches) {
    const PackedRowsPtr rows = make_rows(lengths);
    for (const int64_t width : kWidths) {
      for (const double probability : {0.0, 0.3}) {
        body(width, dropout_of(rows, probability),
             concat("rows ", rows->rows(), ", width ", width, ", dropout ", probability));
      }
    }
  }
}

LayerNorm norm_of(const at::Tensor& weight, const at::Tensor& bias) {
  LayerNorm norm;
  norm.weight = weight;
  norm.bias = bias;
  norm.eps = 1e-3;
  return norm;
}

/// Every kernel on every instruction set that this processor has.
class PackedOpsTest : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    if ((hwy::SupportedTargets() & GetParam()) == 0) GTEST_SKIP() << "not on this processor";
    hwy::GetChosenTarget().Update(GetParam());
  }
  void TearDown() override { hwy::GetChosenTarget().DeInit(); }
};

TEST_P(PackedOpsTest, BiasGelu) {
  const Operation operation = [](const auto& in, bool fused) {
    return fused ? fused::bias_gelu(in[0], in[1]) : plain::bias_gelu(in[0], in[1]);
  };
  for (const int64_t width : kWidths) {
    for (const int64_t rows : {0, 1, 200}) {
      check(operation, {random_tensor({rows, width}, "x") * 3.0, random_tensor({width}, "bias")},
            concat("rows ", rows, ", width ", width));
    }
  }
}

TEST_P(PackedOpsTest, GeluHoldsFarFromZero) {
  const at::Tensor x = at::Tensor(random_tensor({50, 20}, "x")) * 30.0;
  const at::Tensor bias = random_tensor({20}, "bias") * 0.0;
  EXPECT_LT(difference(fused::bias_gelu(x.to(at::kFloat), bias.to(at::kFloat)), plain::bias_gelu(x, bias)), 1e-6);
}

TEST_P(PackedOpsTest, ResidualNorm) {
  for_each_case([](int64_t width, const PackedDropout& dropout, const std::string& what) {
    const Operation operation = [&](const auto& in, bool fused) {
      const auto& chosen = fused ? fused::residual_norm : plain::residual_norm;
      return chosen({in[0], in[1]}, in[2], norm_of(in[3], in[4]), dropout);
    };
    const int64_t rows = dropout.rows->rows();
    check(operation,
          {random_tensor({rows, width}, "x"), random_tensor({width}, "x bias"),
           random_tensor({rows, width}, "residual"), random_tensor({width}, "weight"), random_tensor({width}, "bias")},
          what);
  });
}

TEST_P(PackedOpsTest, EmbedTokens) {
  for_each_case([](int64_t width, const PackedDropout& dropout, const std::string& what) {
    const Operation operation = [&](const auto& in, bool fused) {
      const auto& chosen = fused ? fused::embed_tokens : plain::embed_tokens;
      return chosen({in[0], in[1], in[2]}, norm_of(in[3], in[4]), dropout);
    };
    check(operation,
          {random_tensor({kVocabulary, width}, "word"), random_tensor({kPositions, width}, "position"),
           random_tensor({2, width}, "type"), random_tensor({width}, "weight"), random_tensor({width}, "bias")},
          what);
  });
}

TEST_P(PackedOpsTest, PackedAttention) {
  for_each_case([](int64_t head_width, const PackedDropout& dropout, const std::string& what) {
    for (const int64_t heads : {1, 3}) {
      const Operation operation = [&](const auto& in, bool fused) {
        return fused ? fused::packed_attention(in[0], heads, dropout) : plain::packed_attention(in[0], heads, dropout);
      };
      check(operation, {random_tensor({dropout.rows->rows(), 3 * heads * head_width}, "joined")},
            concat(what, ", heads ", heads));
    }
  });
}

TEST_P(PackedOpsTest, AttentionHoldsForLargeScores) {
  const PackedRowsPtr rows = make_rows({5, 30});
  const at::Tensor joined = random_tensor({35, 3 * 16}, "joined") * 40.0;
  const PackedDropout none{rows, {}};
  EXPECT_LT(
      difference(fused::packed_attention(joined.to(at::kFloat), 1, none), plain::packed_attention(joined, 1, none)),
      1e-4);
}

TEST_P(PackedOpsTest, Pooling) {
  for_each_case([](int64_t width, const PackedDropout& dropout, const std::string& what) {
    using Pool = at::Tensor (*)(const at::Tensor&, const PackedRowsPtr&);
    for (const auto& [ours, oracle] : {std::pair<Pool, Pool>{fused::pool_mean, plain::pool_mean},
                                       {fused::pool_first, plain::pool_first},
                                       {fused::pool_max, plain::pool_max}}) {
      const Operation operation = [&](const auto& in, bool fused) {
        return (fused ? ours : oracle)(in[0], dropout.rows);
      };
      check(operation, {random_tensor({dropout.rows->rows(), width}, "x")}, what);
    }
  });
}

TEST_P(PackedOpsTest, MeanOfATextWithoutRowsIsZero) {
  const PackedRowsPtr rows = make_rows({0, 2});
  const at::Tensor x = random_tensor({2, 4}, "x");
  for (const at::Tensor& mean : {fused::pool_mean(x.to(at::kFloat), rows), plain::pool_mean(x, rows)}) {
    EXPECT_EQ(mean[0].abs().sum().item<double>(), 0.0);
    EXPECT_GT(mean[1].abs().sum().item<double>(), 0.0);
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, PackedOpsTest, ::testing::Values(HWY_AVX3, HWY_AVX2, HWY_SCALAR),
                         [](const auto& info) { return std::string(hwy::TargetName(info.param)); });

}  // namespace
}  // namespace rondo
