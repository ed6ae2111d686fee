#include "trainer/text/text_tower.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/erf.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "trainer/nn/dropout.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

TextTowerOptions small_options() {
  return {.vocabulary_size = 50,
          .hidden_size = 24,
          .num_hidden_layers = 3,
          .num_attention_heads = 4,
          .intermediate_size = 40,
          .max_position_embeddings = 20,
          .layer_norm_eps = 1e-12,
          .initializer_range = 0.1};
}

/// `count` texts of 1 to `longest` tokens, as a function of the seed.
std::vector<std::vector<int32_t>> random_texts(uint64_t seed, int64_t count, int64_t longest) {
  const CounterRandom random(seed, 0, RandomPurpose::kTest);
  std::vector<std::vector<int32_t>> texts(static_cast<size_t>(count));
  for (size_t i = 0; i < texts.size(); ++i) {
    texts[i].resize(1 + random.below(static_cast<uint64_t>(longest), i, 0));
    for (size_t j = 0; j < texts[i].size(); ++j) texts[i][j] = static_cast<int32_t>(random.below(50, i, j + 1));
  }
  return texts;
}

PackedTexts pack(const std::vector<std::vector<int32_t>>& texts) {
  return pack_texts(std::vector<std::span<const int32_t>>(texts.begin(), texts.end()));
}

/// Gives every parameter, biases and norms too, values that show when one is forgotten.
void randomize(const TextTower& tower) {
  const at::NoGradGuard no_grad;
  for (const NamedParameter& parameter : tower.parameters()) {
    at::Tensor value = parameter.value;
    value.copy_(value + initial_normal(value.sizes(), 0.3, 99, parameter.name, value.scalar_type()));
  }
}

/// BERT by the book, padded to the longest text with an additive mask. Shares nothing with the tower but the names,
/// and the factors of dropout where the context is training; then texts come one by one.
class PaddedBert {
 public:
  PaddedBert(const TextTower& tower, TextTowerOptions options, StepContext context = {})
      : options_(options), context_(context) {
    for (const NamedParameter& parameter : tower.parameters()) weights_[parameter.name] = parameter.value.detach();
  }

  at::Tensor encode(const std::vector<std::vector<int32_t>>& texts) {
    if (context_.training) digest_ = text_digest(texts.at(0));
    size_t longest = 0;
    for (const auto& text : texts) longest = std::max(longest, text.size());
    std::vector<at::Tensor> inputs, masks;
    for (const auto& text : texts) {
      inputs.push_back(embed(text, longest));
      at::Tensor mask = at::zeros({static_cast<int64_t>(longest)}, at::kDouble);
      mask.narrow(0, 0, static_cast<int64_t>(text.size())).fill_(1.0);
      masks.push_back(mask);
    }
    const at::Tensor mask = at::stack(masks);  // [texts, longest]
    at::Tensor x = at::stack(inputs);          // [texts, longest, hidden]
    x = drop(x, options_.hidden_dropout_prob, 0);
    for (int64_t i = 0; i < options_.num_hidden_layers; ++i) {
      x = layer(x, mask, i);
    }
    x = pool(x, mask);
    if (options_.output_size > 0) x = linear(x, "t.projection");
    return options_.normalize ? x / (x * x).sum(1, true).sqrt() : x;
  }

 private:
  at::Tensor pool(const at::Tensor& x, const at::Tensor& mask) const {
    switch (options_.pooling) {
      case TextPooling::kMean:
        return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, true);
      case TextPooling::kMax:
        return (x + (mask.unsqueeze(-1) - 1.0) * 1e9).amax(1);
      case TextPooling::kPooler:
        return at::tanh(linear(x.select(1, 0), "t.pooler.dense"));
      case TextPooling::kCls:
        break;
    }
    return x.select(1, 0);
  }

  at::Tensor weight(const std::string& name) const { return weights_.at(name); }

  at::Tensor linear(const at::Tensor& x, const std::string& name) const {
    return at::matmul(x, weight(name + ".weight").t()) + weight(name + ".bias");
  }

  at::Tensor norm(const at::Tensor& x, const std::string& name) const {
    const at::Tensor centred = x - x.mean(-1, true);
    const at::Tensor variance = (centred * centred).mean(-1, true);
    return centred / (variance + options_.layer_norm_eps).sqrt() * weight(name + ".weight") + weight(name + ".bias");
  }

  at::Tensor embed(const std::vector<int32_t>& text, size_t longest) const {
    std::vector<at::Tensor> rows;
    for (size_t i = 0; i < longest; ++i) {
      const int64_t token = i < text.size() ? text[i] : 0;
      rows.push_back(weight("t.embeddings.word_embeddings.weight")[token] +
                     weight("t.embeddings.position_embeddings.weight")[static_cast<int64_t>(i)] +
                     weight("t.embeddings.token_type_embeddings.weight")[0]);
    }
    return norm(at::stack(rows), "t.embeddings.LayerNorm");
  }

  /// `x` times its factors, as rows of its last dimension.
  at::Tensor drop(const at::Tensor& x, double probability, int64_t site) const {
    const int64_t width = x.size(-1);
    return x * dropout_factors(DropoutSite(probability, context_, static_cast<uint64_t>(site)), digest_,
                               x.numel() / width, width, at::kDouble)
                   .view(x.sizes());
  }

  at::Tensor layer(const at::Tensor& x, const at::Tensor& mask, int64_t index) const {
    const std::string name = concat("t.encoder.layer.", index, ".");
    const double hidden_dropout = options_.hidden_dropout_prob;
    const int64_t texts = x.size(0), length = x.size(1), heads = options_.num_attention_heads;
    const auto by_head = [&](const at::Tensor& y) { return y.view({texts, length, heads, -1}).transpose(1, 2); };
    const at::Tensor query = by_head(linear(x, name + "attention.self.query"));
    const at::Tensor key = by_head(linear(x, name + "attention.self.key"));
    const at::Tensor value = by_head(linear(x, name + "attention.self.value"));
    at::Tensor scores = at::matmul(query, key.transpose(2, 3)) / std::sqrt(static_cast<double>(query.size(3)));
    scores = scores + (1.0 - mask).view({texts, 1, 1, length}) * -1e300;
    const at::Tensor weights = drop(at::softmax(scores, -1), options_.attention_probs_dropout_prob, 4 * index + 1);
    const at::Tensor context = at::matmul(weights, value).transpose(1, 2).reshape(x.sizes());
    const at::Tensor attended = drop(linear(context, name + "attention.output.dense"), hidden_dropout, 4 * index + 2);
    const at::Tensor middle = norm(x + attended, name + "attention.output.LayerNorm");
    const at::Tensor hidden = linear(middle, name + "intermediate.dense");
    const at::Tensor active = hidden * 0.5 * (1.0 + at::erf(hidden / std::sqrt(2.0)));
    const at::Tensor out = drop(linear(active, name + "output.dense"), hidden_dropout, 4 * index + 3);
    return norm(middle + out, name + "output.LayerNorm");
  }

  TextTowerOptions options_;
  StepContext context_;
  uint64_t digest_ = 0;
  std::map<std::string, at::Tensor> weights_;
};

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  EXPECT_EQ(a.sizes(), b.sizes());
  return a.numel() == 0 ? 0.0 : (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

const StepContext kInference{};

TEST(TextTowerTest, MatchesABertWithPaddingAndMask) {
  for (const TextPooling pooling : {TextPooling::kMean, TextPooling::kCls, TextPooling::kMax, TextPooling::kPooler}) {
    for (const int64_t output_size : {0, 7}) {
      TextTowerOptions options = small_options();
      options.pooling = pooling;
      options.output_size = output_size;
      options.normalize = output_size == 0;
      const TextTower tower(options, "t", 3, at::kDouble);
      randomize(tower);
      const auto texts = random_texts(1, 13, 20);

      const at::Tensor vectors = tower.encode(pack(texts), kInference);

      EXPECT_EQ(vectors.size(1), tower.width());
      EXPECT_LT(largest_difference(vectors, PaddedBert(tower, options).encode(texts)), 1e-10);
    }
  }
}

TEST(TextTowerTest, DropsWhereBertDoes) {
  TextTowerOptions options = small_options();
  options.hidden_dropout_prob = 0.2;
  options.attention_probs_dropout_prob = 0.4;
  for (const TextPooling pooling : {TextPooling::kMean, TextPooling::kPooler}) {
    options.pooling = pooling;
    const TextTower tower(options, "t", 3, at::kDouble);
    randomize(tower);
    const StepContext context{.seed = 4, .step = 9, .training = true};
    const auto texts = random_texts(1, 7, 20);
    std::vector<at::Tensor> expected;
    for (const auto& text : texts) expected.push_back(PaddedBert(tower, options, context).encode({text})[0]);
    EXPECT_LT(largest_difference(tower.encode(pack(texts), context), at::stack(expected)), 1e-10);
  }
}

TEST(TextTowerTest, Fp32FollowsFp64) {
  const TextTower single(small_options(), "t", 3, at::kFloat), exact(small_options(), "t", 3, at::kDouble);
  const PackedTexts texts = pack(random_texts(2, 40, 20));
  // The same dropout in both: it does not know the dtype.
  for (const StepContext& context : {kInference, StepContext{.seed = 4, .step = 9, .training = true}}) {
    EXPECT_LT(largest_difference(single.encode(texts, context), exact.encode(texts, context)), 1e-4);
  }
}

TEST(TextTowerTest, AVectorDoesNotDependOnItsBatch) {
  const TextTower tower(small_options(), "t", 3, at::kFloat);
  const auto texts = random_texts(3, 30, 20);
  for (const StepContext& context : {kInference, StepContext{.seed = 4, .step = 9, .training = true}}) {
    std::vector<at::Tensor> alone;
    for (const auto& text : texts) alone.push_back(tower.encode(pack({text}), context)[0].detach());
    const CounterRandom random(8, 0, RandomPurpose::kTest);
    for (uint64_t batch = 0; batch < 100; ++batch) {
      std::vector<std::vector<int32_t>> members;
      std::vector<at::Tensor> expected;
      for (uint64_t i = 0; i < 1 + random.below(40, batch, 0); ++i) {
        const uint64_t which = random.below(texts.size(), batch, i + 1);
        members.push_back(texts[which]);
        expected.push_back(alone[which]);
      }
      ASSERT_LT(largest_difference(tower.encode(pack(members), context), at::stack(expected)), 1e-6)
          << "batch " << batch << (context.training ? ", training" : "");
    }
  }
}

TEST(TextTowerTest, DropoutFollowsSeedStepAndText) {
  const TextTower tower(small_options(), "t", 3, at::kDouble);
  const PackedTexts texts = pack(random_texts(4, 5, 20));
  const at::Tensor first = tower.encode(texts, {.seed = 1, .step = 1, .training = true});
  EXPECT_EQ(largest_difference(first, tower.encode(texts, {.seed = 1, .step = 1, .training = true})), 0.0);
  EXPECT_GT(largest_difference(first, tower.encode(texts, {.seed = 1, .step = 2, .training = true})), 1e-3);
  EXPECT_GT(largest_difference(first, tower.encode(texts, {.seed = 2, .step = 1, .training = true})), 1e-3);
  EXPECT_GT(largest_difference(first, tower.encode(texts, kInference)), 1e-3);
}

/// Gradients of a fixed function of the vectors, by parameter.
std::map<std::string, at::Tensor> gradients(const TextTower& tower, const PackedTexts& texts,
                                            const StepContext& context) {
  const at::Tensor vectors = tower.encode(texts, context);
  const at::Tensor direction = initial_normal(vectors.sizes(), 1.0, 5, "direction", vectors.scalar_type());
  (vectors * direction).sum().backward();
  std::map<std::string, at::Tensor> result;
  for (const NamedParameter& parameter : tower.parameters()) {
    at::Tensor value = parameter.value;
    EXPECT_TRUE(value.grad().defined()) << parameter.name;
    result[parameter.name] = value.grad();
    value.mutable_grad().reset();
  }
  return result;
}

void check_gradients(const TextTowerOptions& options) {
  const TextTower tower(options, "t", 3, at::kDouble);
  randomize(tower);
  const PackedTexts texts = pack(random_texts(5, 6, 9));
  const StepContext context{.seed = 6, .step = 2, .training = true};
  const auto value_of = [&] {
    const at::NoGradGuard no_grad;
    const at::Tensor vectors = tower.encode(texts, context);
    return (vectors * initial_normal(vectors.sizes(), 1.0, 5, "direction", at::kDouble)).sum().item<double>();
  };
  const auto gradient = gradients(tower, texts, context);
  for (const NamedParameter& parameter : tower.parameters()) {
    // Along one random direction of the whole tensor.
    const at::NoGradGuard no_grad;
    at::Tensor value = parameter.value;
    const at::Tensor original = value.clone();
    const at::Tensor way = initial_normal(value.sizes(), 1.0, 7, parameter.name, at::kDouble);
    constexpr double kStep = 1e-5;
    value.copy_(original + kStep * way);
    const double above = value_of();
    value.copy_(original - kStep * way);
    const double below = value_of();
    value.copy_(original);
    const double expected = (above - below) / (2 * kStep);
    const double actual = (gradient.at(parameter.name) * way).sum().item<double>();
    EXPECT_NEAR(actual, expected, 1e-5 * std::max(1.0, std::abs(expected))) << parameter.name;
  }
}

TEST(TextTowerTest, GradientsMatchFiniteDifferences) {
  TextTowerOptions options = small_options();
  options.output_size = 5;
  for (const TextPooling pooling : {TextPooling::kMean, TextPooling::kMax, TextPooling::kPooler}) {
    options.pooling = pooling;
    options.normalize = pooling == TextPooling::kMax;
    check_gradients(options);
  }
}

TEST(TextTowerTest, Fp32GradientsFollowFp64) {
  const TextTower single(small_options(), "t", 3, at::kFloat), exact(small_options(), "t", 3, at::kDouble);
  const PackedTexts texts = pack(random_texts(6, 40, 20));
  const StepContext context{.seed = 6, .step = 2, .training = true};
  const auto expected = gradients(exact, texts, context);
  for (const auto& [name, gradient] : gradients(single, texts, context)) {
    if (name.ends_with("key.bias")) continue;  // exactly zero: softmax does not see a shift
    const double scale = expected.at(name).abs().max().item<double>();
    EXPECT_LT(largest_difference(gradient, expected.at(name)), 2e-5 * scale) << name;
  }
}

TEST(TextTowerTest, NoTextsGiveZeroGradients) {
  for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const TextTower tower(small_options(), "t", 3, dtype);
    const at::Tensor vectors = tower.encode(PackedTexts{}, {.training = true});
    EXPECT_EQ(vectors.sizes(), at::IntArrayRef({0, 24}));
    vectors.sum().backward();
    for (const NamedParameter& parameter : tower.parameters()) {
      ASSERT_TRUE(parameter.value.grad().defined()) << parameter.name;
      EXPECT_EQ(parameter.value.grad().abs().sum().item<double>(), 0.0) << parameter.name;
    }
    EXPECT_EQ(tower.encode(PackedTexts{}, kInference).size(0), 0);
  }
}

TEST(TextTowerTest, InferenceKeepsNoGraph) {
  const TextTower tower(small_options(), "t", 3, at::kFloat);
  const PackedTexts texts = pack(random_texts(7, 3, 20));
  EXPECT_FALSE(tower.encode(texts, kInference).requires_grad());
  EXPECT_TRUE(tower.encode(texts, {.training = true}).requires_grad());
}

TEST(TextTowerTest, ResultsDoNotDependOnTheNumberOfThreads) {
  const TextTower tower(small_options(), "t", 3, at::kFloat);
  const PackedTexts texts = pack(random_texts(8, 300, 20));
  EXPECT_GE(cut_texts(texts, 512).size(), 4U);
  const StepContext context{.seed = 6, .step = 2, .training = true};
  const auto run = [&](int count) {
    set_threads(count);
    auto result = gradients(tower, texts, context);
    result["vectors"] = tower.encode(texts, context).detach();
    result["vectors without gradients"] = tower.encode(texts, kInference);  // each thread takes texts of its own
    return result;
  };
  const auto one = run(1);
  for (const int count : {2, 3}) {
    for (const auto& [name, value] : run(count)) EXPECT_TRUE(value.equal(one.at(name))) << name << " at " << count;
  }
  set_threads(1);
}

TEST(TextTowerTest, NamesAreThoseOfHuggingFace) {
  TextTowerOptions options = small_options();
  options.num_hidden_layers = 1;
  options.output_size = 7;
  std::vector<std::string> names, decaying;
  const TextTower tower(options, "", 1, at::kFloat);
  for (const NamedParameter& parameter : tower.parameters()) {
    names.push_back(parameter.name);
    if (parameter.decay) decaying.push_back(parameter.name);
  }
  const std::string layer = "encoder.layer.0.";
  EXPECT_THAT(names,
              ::testing::ElementsAre("embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight",
                                     "embeddings.token_type_embeddings.weight", "embeddings.LayerNorm.weight",
                                     "embeddings.LayerNorm.bias", layer + "attention.self.query.weight",
                                     layer + "attention.self.query.bias", layer + "attention.self.key.weight",
                                     layer + "attention.self.key.bias", layer + "attention.self.value.weight",
                                     layer + "attention.self.value.bias", layer + "attention.output.dense.weight",
                                     layer + "attention.output.dense.bias", layer + "attention.output.LayerNorm.weight",
                                     layer + "attention.output.LayerNorm.bias", layer + "intermediate.dense.weight",
                                     layer + "intermediate.dense.bias", layer + "output.dense.weight",
                                     layer + "output.dense.bias", layer + "output.LayerNorm.weight",
                                     layer + "output.LayerNorm.bias", "projection.weight", "projection.bias"));
  for (const std::string& name : decaying) EXPECT_THAT(name, ::testing::Not(HasSubstr("LayerNorm")));
  EXPECT_EQ(decaying.size(), 10U);
}

TEST(TextTowerTest, StartsAsBertDoes) {
  TextTowerOptions options = small_options();
  options.hidden_size = 64;
  options.initializer_range = 0.02;
  const TextTower tower(options, "t", 1, at::kFloat), same(options, "t", 1, at::kFloat),
      other(options, "t", 2, at::kFloat);
  for (size_t p = 0; p < tower.parameters().size(); ++p) {
    const auto& [name, value, decay] = tower.parameters()[p];
    EXPECT_TRUE(value.equal(same.parameters()[p].value)) << name;
    if (name.ends_with("bias")) {
      EXPECT_EQ(value.abs().max().item<float>(), 0.0F) << name;
    } else if (name.ends_with("LayerNorm.weight")) {
      EXPECT_TRUE((value == 1.0F).all().item<bool>()) << name;
    } else {
      EXPECT_FALSE(value.equal(other.parameters()[p].value)) << name;
      const double deviation = value.pow(2).mean().sqrt().item<double>();
      EXPECT_NEAR(deviation, 0.02, 0.02 * 4 / std::sqrt(2.0 * static_cast<double>(value.numel()))) << name;
    }
  }
}

template <typename Exception>
std::string message_of(const std::function<void()>& body, ExitCode code) {
  try {
    body();
  } catch (const Exception& error) {
    EXPECT_EQ(error.exit_code(), code);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(TextTowerTest, RefusesBadTexts) {
  const TextTower tower(small_options(), "t", 1, at::kFloat);
  const auto message = [&](std::vector<std::vector<int32_t>> texts) {
    return message_of<DataError>([&] { tower.encode(pack(texts), kInference); }, ExitCode::kBadData);
  };
  EXPECT_THAT(message({{1}, {1, 50}}), HasSubstr("text 1 of the batch: token 50 at position 1"));
  EXPECT_THAT(message({{-1}}), HasSubstr("token -1"));
  EXPECT_THAT(message({std::vector<int32_t>(21, 1)}), HasSubstr("1 to 20 tokens expected"));
  EXPECT_THAT(message({{}}), HasSubstr("got 0"));
  EXPECT_NO_THROW(tower.encode(pack({std::vector<int32_t>(20, 49)}), kInference));
}

TEST(TextTowerTest, RefusesBadOptions) {
  const auto message = [](auto change) {
    TextTowerOptions options = small_options();
    change(options);
    return message_of<ConfigError>([&] { validate(options); }, ExitCode::kBadConfiguration);
  };
  EXPECT_THAT(message([](auto& o) { o.vocabulary_size = 0; }), HasSubstr("vocabulary_size must be in [1, "));
  EXPECT_THAT(message([](auto& o) { o.num_attention_heads = 5; }),
              HasSubstr("num_attention_heads must divide hidden_size (24), got 5"));
  EXPECT_THAT(message([](auto& o) { o.hidden_dropout_prob = 1.0; }), HasSubstr("hidden_dropout_prob must be in"));
  EXPECT_THAT(message([](auto& o) { o.hidden_dropout_prob = std::nan(""); }), HasSubstr("got nan"));
  EXPECT_THAT(message([](auto& o) { o.layer_norm_eps = 0; }), HasSubstr("layer_norm_eps must be positive"));
  EXPECT_THAT(message([](auto& o) { o.output_size = -1; }), HasSubstr("output_size"));
  EXPECT_NO_THROW(validate(small_options()));
}

}  // namespace
}  // namespace rondo
