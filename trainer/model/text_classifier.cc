#include "trainer/model/text_classifier.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/nn/dropout.h"

namespace rondo {
namespace {

/// Far behind those of the tower's layers. Part of what a seed means.
constexpr uint64_t kHeadSite = uint64_t{1} << 32;

Linear make_head(const TextClassifierOptions& options, int64_t width, uint64_t seed) {
  return {"classifier", width, options.classes, {options.tower.initializer_range, seed, options.dtype}};
}

template <typename T>
at::Tensor column_of(std::span<const T> values, at::ScalarType dtype) {
  at::Tensor column = at::empty({static_cast<int64_t>(values.size()), 1}, dtype);
  std::ranges::copy(values, column.mutable_data_ptr<T>());
  return column;
}

}  // namespace

void validate(const TextClassifierOptions& options) {
  if (options.classes < 2) throw ConfigError(concat("classes must be 2 or more, got ", options.classes));
  if (!(options.dropout >= 0.0 && options.dropout <= 0.99)) {
    throw ConfigError(concat("dropout must be in [0, 0.99], got ", options.dropout));
  }
  TextTowerOptions tower = options.tower;
  tower.vocabulary_size = std::max<int64_t>(tower.vocabulary_size, 1);
  validate(tower);
}

TextClassifier::TextClassifier(const TextClassifierOptions& options, uint64_t seed)
    : options_(options),
      tower_(options.tower, "text", seed, options.dtype),
      head_(make_head(options, tower_.width(), seed)),
      parameters_(tower_.parameters()) {
  validate(options);
  head_.collect("classifier", parameters_);
}

at::Tensor TextClassifier::encode(const PackedTexts& texts, const StepContext& context) const {
  const at::AutoGradMode gradients(context.training && at::GradMode::is_enabled());
  const at::Tensor vectors = tower_.encode(texts, context);
  const DropoutSite site(options_.dropout, context, kHeadSite);
  if (!site.active()) return vectors;
  at::Tensor factors = at::empty_like(vectors);
  for (int64_t i = 0; i < texts.size(); ++i) {
    factors[i].copy_(
        dropout_factors(site, texts.digests[static_cast<size_t>(i)], 1, tower_.width(), options_.dtype)[0]);
  }
  return vectors * factors;
}

at::Tensor cross_entropy(const at::Tensor& scores, const LabelledExamples& examples) {
  RONDO_CHECK_EQ(scores.size(0), static_cast<int64_t>(examples.labels.size()), "scores");
  RONDO_CHECK_EQ(examples.labels.size(), examples.weights.size());
  const at::Tensor labels = column_of(examples.labels, at::kLong);
  const at::Tensor weights = column_of(examples.weights, at::kDouble) / examples.weight_sum;
  const at::Tensor log_likelihood = at::log_softmax(scores, 1).gather(1, labels);  // [n, 1]
  return -(log_likelihood * weights.to(scores.scalar_type())).sum();
}

}  // namespace rondo
