#include "trainer/model/in_batch_softmax.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "sharding/base/random.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

constexpr int64_t kDim = 5;

/// A global batch of `examples` examples in fp64, and what each user has bought before.
struct GlobalExamples {
  explicit GlobalExamples(int64_t examples) : size(examples) {
    const CounterRandom random(3, 0, RandomPurpose::kTest);
    for (int64_t i = 0; i < examples; ++i) {
      keys.push_back(1000 + random.below(7, i, 0));  // few items: duplicates are certain
      weights.push_back(0.5F + static_cast<float>(random.below(4, i, 1)));
      probabilities.push_back(0.01F * static_cast<float>(1 + random.below(9, keys.back(), 2)));
      positives.push_back({1000 + random.below(7, i, 3), 1000 + random.below(7, i, 4)});
      for (int64_t c = 0; c < kDim; ++c) {
        users.push_back(random.normal(i, 10 + c));
        items.push_back(random.normal(i, 30 + c));
      }
    }
  }
  int64_t size;
  std::vector<uint64_t> keys;
  std::vector<float> weights, probabilities;
  std::vector<std::set<uint64_t>> positives;
  std::vector<double> users, items;
};

struct Expected {
  double loss = 0;
  std::vector<double> user_gradients, item_gradients;
};

/// The formula of the header, one term after the other.
Expected dull_loss(const GlobalExamples& all, const ModelOptions& options) {
  Expected out{0, std::vector<double>(all.users.size()), std::vector<double>(all.items.size())};
  double weight_sum = 0;
  for (const float weight : all.weights) weight_sum += weight;
  for (int64_t i = 0; i < all.size; ++i) {
    std::vector<double> scores(all.size);
    std::vector<bool> in(all.size, true);
    double sum = 0;
    for (int64_t j = 0; j < all.size; ++j) {
      double dot = 0;
      for (int64_t c = 0; c < kDim; ++c) dot += all.users[i * kDim + c] * all.items[j * kDim + c];
      const double p = std::max<double>(all.probabilities[j], options.loss.minimum_probability);
      scores[j] = dot / options.interaction.temperature - (options.loss.logq ? std::log(p) : 0.0);
      if (j != i && all.keys[j] == all.keys[i]) in[j] = !options.loss.mask_duplicates;
      if (j != i && all.keys[j] != all.keys[i] && all.positives[i].count(all.keys[j]) > 0) {
        in[j] = !options.loss.mask_positives;
      }
      if (in[j]) sum += std::exp(scores[j]);
    }
    const double share = all.weights[i] / weight_sum;
    out.loss += share * (std::log(sum) - scores[i]);
    for (int64_t j = 0; j < all.size; ++j) {
      const double slope =
          share * ((in[j] ? std::exp(scores[j]) / sum : 0.0) - (i == j ? 1.0 : 0.0)) / options.interaction.temperature;
      for (int64_t c = 0; c < kDim; ++c) {
        out.user_gradients[i * kDim + c] += slope * all.items[j * kDim + c];
        out.item_gradients[j * kDim + c] += slope * all.users[i * kDim + c];
      }
    }
  }
  return out;
}

at::Tensor slice(const std::vector<double>& values, int64_t begin, int64_t end) {
  at::Tensor out = at::empty({end - begin, kDim}, at::kDouble);
  std::copy(values.begin() + begin * kDim, values.begin() + end * kDim, out.data_ptr<double>());
  return out.requires_grad_(true);
}

void expect_near(const at::Tensor& got, const std::vector<double>& expected, int64_t begin) {
  for (int64_t i = 0; i < got.numel(); ++i) {
    EXPECT_NEAR(got.contiguous().data_ptr<double>()[i], expected[begin * kDim + i], 1e-12) << "element " << i;
  }
}

/// Shares that leave rank 0 empty at odd worlds: uneven, and with nothing.
std::vector<int64_t> uneven_sizes(int64_t total, int world) {
  std::vector<int64_t> sizes(world, 0);
  for (int64_t i = 0; i < total; ++i) ++sizes[world - 1 - (i * i) % std::max(1, world - world % 2)];
  return sizes;
}

class InBatchSoftmaxTest : public testing::RankTest {};

TEST_P(InBatchSoftmaxTest, MatchesTheFormulaInLossAndGradients) {
  on_each_rank([](Communicator& comm) {
    const GlobalExamples all(23);
    for (const int variant : {0, 1, 2, 3}) {
      ModelOptions options;
      options.dtype = at::kDouble;
      options.interaction.temperature = 0.7;
      options.loss = {variant != 1, 0.03, variant != 2, variant != 3};
      const Expected expected = dull_loss(all, options);

      const auto sizes = uneven_sizes(all.size, comm.size());
      int64_t begin = 0;
      for (int r = 0; r < comm.rank(); ++r) begin += sizes[r];
      const int64_t end = begin + sizes[comm.rank()];
      Batch batch;
      batch.positive_offsets = {0};
      std::vector<uint64_t> positives;
      LossInput input{slice(all.users, begin, end), slice(all.items, begin, end), at::empty({end - begin}, at::kLong),
                      at::empty({end - begin}, at::kFloat), sizes};
      for (int64_t i = begin; i < end; ++i) {
        batch.targets.push_back(0);
        batch.weights.push_back(all.weights[i]);
        positives.insert(positives.end(), all.positives[i].begin(), all.positives[i].end());
        batch.positive_offsets.push_back(static_cast<int64_t>(positives.size()));
        input.target_keys.data_ptr<int64_t>()[i - begin] = static_cast<int64_t>(all.keys[i]);
        input.probabilities.data_ptr<float>()[i - begin] = all.probabilities[i];
      }
      const at::Tensor loss = in_batch_softmax(comm, input, batch, positives, options);
      loss.backward();
      at::Tensor total = loss.detach().clone().reshape({1});
      comm.all_reduce(total, {Channel::kControl, "loss"})->wait();
      EXPECT_NEAR(total.item<double>(), expected.loss, 1e-12) << "variant " << variant;
      expect_near(input.users.grad(), expected.user_gradients, begin);
      expect_near(input.items.grad(), expected.item_gradients, begin);
    }
  });
}

RONDO_INSTANTIATE_RANK_TEST(InBatchSoftmaxTest);

}  // namespace
}  // namespace rondo
