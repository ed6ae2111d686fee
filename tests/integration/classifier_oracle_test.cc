// One step of the classifier against BERT by the book: plain LibTorch operators, one text after the other, autograd.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/erf.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tanh.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/integration/classifier_run.h"
#include "tests/support/rank_test.h"
#include "tests/support/tiny_texts.h"
#include "trainer/loop/classifier_task.h"

namespace rondo {
namespace {

using testing::TinyTexts;

/// Shares nothing with the model but names and shapes.
class PlainClassifier {
 public:
  explicit PlainClassifier(const TextClassifier& model) : options_(model.options()) {
    for (const NamedParameter& parameter : model.parameters()) {
      weights_[parameter.name] = parameter.value.detach().clone().requires_grad_();
    }
  }

  /// The weighted mean over `examples`.
  at::Tensor loss(const ClassifierData& data, const std::vector<int64_t>& examples,
                  const std::vector<double>& class_weights) const {
    at::Tensor sum;
    double weight_sum = 0;
    for (const int64_t example : examples) {
      const auto label = static_cast<size_t>(data.examples.labels[static_cast<size_t>(example)]);
      const double weight = data.examples.weights[static_cast<size_t>(example)] * class_weights[label];
      const at::Tensor scores = linear(vector_of(data.text(example)), "classifier");
      const at::Tensor part = (at::logsumexp(scores, 0) - scores[static_cast<int64_t>(label)]) * weight;
      sum = sum.defined() ? sum + part : part;
      weight_sum += weight;
    }
    return sum / weight_sum;
  }

  at::Tensor gradient(const std::string& name) const { return weights_.at(name).grad(); }

 private:
  at::Tensor weight(const std::string& name) const { return weights_.at(name); }

  at::Tensor linear(const at::Tensor& x, const std::string& name) const {
    return at::matmul(x, weight(name + ".weight").t()) + weight(name + ".bias");
  }

  at::Tensor norm(const at::Tensor& x, const std::string& name) const {
    const at::Tensor centred = x - x.mean(-1, true);
    const at::Tensor variance = (centred * centred).mean(-1, true);
    return centred / (variance + options_.tower.layer_norm_eps).sqrt() * weight(name + ".weight") +
           weight(name + ".bias");
  }

  at::Tensor vector_of(std::span<const int32_t> text) const {
    std::vector<at::Tensor> rows;
    for (size_t i = 0; i < text.size(); ++i) {
      rows.push_back(weight("text.embeddings.word_embeddings.weight")[text[i]] +
                     weight("text.embeddings.position_embeddings.weight")[static_cast<int64_t>(i)] +
                     weight("text.embeddings.token_type_embeddings.weight")[0]);
    }
    at::Tensor x = norm(at::stack(rows), "text.embeddings.LayerNorm");  // [length, hidden]
    for (int64_t i = 0; i < options_.tower.num_hidden_layers; ++i) x = layer(x, concat("text.encoder.layer.", i, "."));
    return at::tanh(linear(x[0], "text.pooler.dense"));
  }

  at::Tensor layer(const at::Tensor& x, const std::string& name) const {
    const int64_t heads = options_.tower.num_attention_heads, length = x.size(0);
    const auto part = [&](const char* which) {
      return linear(x, name + "attention.self." + which).view({length, heads, -1}).transpose(0, 1);
    };
    const at::Tensor query = part("query");
    const at::Tensor scores =
        at::matmul(query, part("key").transpose(1, 2)) / std::sqrt(static_cast<double>(query.size(2)));
    const at::Tensor context = at::matmul(at::softmax(scores, -1), part("value")).transpose(0, 1).reshape(x.sizes());
    const at::Tensor middle =
        norm(x + linear(context, name + "attention.output.dense"), name + "attention.output.LayerNorm");
    const at::Tensor hidden = linear(middle, name + "intermediate.dense");
    const at::Tensor active = hidden * 0.5 * (1.0 + at::erf(hidden / std::sqrt(2.0)));
    return norm(middle + linear(active, name + "output.dense"), name + "output.LayerNorm");
  }

  TextClassifierOptions options_;
  std::map<std::string, at::Tensor> weights_;
};

class ClassifierOracleTest : public testing::RankTest {};

TEST_P(ClassifierOracleTest, LossAndGradientsAreThoseOfThePlainModel) {
  testing::ClassifierRunOptions options = testing::tiny_classifier(at::kDouble, DenseOptimizerKind::kSgd);
  options.classifier.model.dropout = 0;
  options.classifier.model.tower.hidden_dropout_prob = 0;
  options.classifier.model.tower.attention_probs_dropout_prob = 0;
  options.train.adam_w.learning_rate = 1;  // so a step subtracts the gradient
  options.train.adam_w.weight_decay = 0;
  const TinyTexts texts;
  on_each_rank([&](Communicator& comm) {
    for (const TextDispatch dispatch : {TextDispatch::kLocal, TextDispatch::kBalanced}) {
      options.classifier.dispatch = dispatch;
      TextClassifier model(options.classifier.model, options.seed);
      const PlainClassifier plain(model);
      const auto all = static_cast<int64_t>(texts.data.split.train.size());
      // The whole epoch in one batch: the oracle need not know its order.
      const at::Tensor expected = plain.loss(texts.data, texts.data.split.train, options.classifier.class_weights);
      expected.backward();
      std::map<std::string, at::Tensor> before;
      for (const auto& parameter : model.parameters()) before[parameter.name] = parameter.value.detach().clone();
      ClassifierTask task(options.train, options.classifier, texts.data, model, options.seed, comm);
      DataCursor cursor;

      const StepResult result = task.step(cursor, {1, 1.0, 0.0, all, false});

      EXPECT_NEAR(result.loss, expected.item<double>(), 1e-10);
      EXPECT_EQ(result.examples, all);
      EXPECT_EQ(cursor.epoch, 1);
      for (const auto& parameter : model.parameters()) {
        const at::Tensor gradient = before[parameter.name] - parameter.value.detach();
        const double difference = (gradient - plain.gradient(parameter.name)).abs().max().item<double>();
        EXPECT_LT(difference, 1e-10) << parameter.name;
      }
    }
  });
}

RONDO_INSTANTIATE_RANK_TEST(ClassifierOracleTest);

}  // namespace
}  // namespace rondo
