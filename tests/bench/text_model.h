#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "trainer/nn/layers.h"
#include "trainer/text/text_folder.h"
#include "trainer/text/text_tower.h"

namespace rondo::bench {

/// Lines of a text file (.gz allowed) without the blanks around them; empty ones are left out. At most `limit`.
std::vector<std::string> read_lines(const std::filesystem::path& path, int64_t limit);

/// A sentence encoder of a folder's weights: mean pooling, vectors of length 1.
std::unique_ptr<TextTower> make_encoder(const TextFolder& folder, at::ScalarType dtype, ProductPrecision precision);

/// BERT with its pooler, dropout and a linear head of two classes, as transformers' BertForSequenceClassification.
class TextClassifier {
 public:
  /// Weights of a folder; the head starts at random.
  TextClassifier(const TextFolder& folder, at::ScalarType dtype, ProductPrecision precision);

  /// Mean cross-entropy.
  at::Tensor loss(const PackedTexts& texts, const std::vector<int64_t>& labels, const StepContext& context) const;

  const ParameterList& parameters() const { return parameters_; }

 private:
  double dropout_;
  std::unique_ptr<TextTower> tower_;
  Linear head_;
  ParameterList parameters_;
};

}  // namespace rondo::bench
