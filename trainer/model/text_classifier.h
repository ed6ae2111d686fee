#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "trainer/nn/layers.h"
#include "trainer/text/text_tower.h"

namespace rondo {

/// A text tower and a linear head over its vectors.
struct TextClassifierOptions {
  TextTowerOptions tower;
  int64_t classes = 0;   // required, 2 or more
  double dropout = 0.1;  // of the vectors, before the head
  at::ScalarType dtype = at::kFloat;
};

/// Throws ConfigError naming the field, its value and the allowed range; of the tower, all but its vocabulary_size.
void validate(const TextClassifierOptions& options);

/// Sentence classification as in BERT (Devlin et al. 2019, 4.1): dropout over the pooled vector, then a linear layer.
/// Parameters: the tower's below "text", "classifier.weight" [classes, width] and "classifier.bias".
class TextClassifier {
 public:
  /// Random initialisation from `seed`.
  TextClassifier(const TextClassifierOptions& options, uint64_t seed);

  /// Vectors [texts, width] with the head's dropout, which is keyed by the text as the tower's is: they depend neither
  /// on their neighbours nor on the rank. Throws what TextTower::encode throws.
  at::Tensor encode(const PackedTexts& texts, const StepContext& context) const;

  /// Vectors [n, width] -> scores [n, classes].
  at::Tensor scores(const at::Tensor& vectors) const { return head_.forward(vectors); }

  const TextClassifierOptions& options() const { return options_; }
  const TextTower& tower() const { return tower_; }
  const ParameterList& parameters() const { return parameters_; }

 private:
  TextClassifierOptions options_;
  TextTower tower_;
  Linear head_;
  ParameterList parameters_;
};

/// The examples of a loss.
struct LabelledExamples {
  std::span<const int64_t> labels;  // [n]
  std::span<const double> weights;  // [n], of the example times that of its class
  double weight_sum = 1.0;          // over the global batch
};

/// Weighted cross-entropy: this rank's part of the global mean, sum_i w_i (-log softmax(scores_i)[label_i]) /
/// weight_sum. `scores` [n, classes]; n may be 0, and the result carries gradient then, too.
at::Tensor cross_entropy(const at::Tensor& scores, const LabelledExamples& examples);

}  // namespace rondo
