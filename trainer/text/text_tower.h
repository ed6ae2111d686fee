#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "trainer/nn/parameter.h"
#include "trainer/nn/products.h"
#include "trainer/text/packed_texts.h"

namespace rondo {

enum class TextPooling : uint8_t {
  kMean,    // of all tokens
  kCls,     // the first token, [CLS]
  kMax,     // of all tokens, column by column
  kPooler,  // BERT's pooler: tanh of a dense layer over [CLS]
};

/// Shape of a BERT encoder. Defaults: the small tower of the first run; names as in Hugging Face's config.json.
struct TextTowerOptions {
  int64_t vocabulary_size = 0;  // required
  int64_t hidden_size = 128;
  int64_t num_hidden_layers = 2;
  int64_t num_attention_heads = 4;
  int64_t intermediate_size = 512;
  int64_t max_position_embeddings = 512;
  int64_t type_vocab_size = 2;
  double layer_norm_eps = 1e-12;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  double initializer_range = 0.02;
  TextPooling pooling = TextPooling::kMean;
  int64_t output_size = 0;  // a linear projection of the pooled vector to this width; 0: none
  bool normalize = false;   // the vector is divided by its length at the end
  ProductPrecision precision = ProductPrecision::kFloat32;  // of an fp32 tower
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const TextTowerOptions& options);

/// A BERT encoder (Devlin et al. 2019) with pooling: one vector a text. Parameter names follow Hugging Face's
/// ("embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight", ...) below `prefix`.
///
/// A text's vector does not depend on its neighbours, nor its dropout on the world. One thread.
class TextTower {
 public:
  /// Random initialisation from `seed`. `dtype`: fp32, or fp64 for tests.
  TextTower(const TextTowerOptions& options, const std::string& prefix, uint64_t seed, at::ScalarType dtype);
  ~TextTower();

  /// Vectors [texts, width()]; zero texts are legal and still carry gradient (zeros). Differentiable when
  /// context.training and gradients are on, else nothing is kept. Bit-equal for any number of threads but for what the
  /// library of dense products does. Throws DataError, naming the text's place in the batch, for a token outside the
  /// vocabulary, a text without tokens or one longer than the positions.
  at::Tensor encode(const PackedTexts& texts, const StepContext& context) const;

  /// `encode` in two parts: what the encoder says of each text, [texts, hidden_size], and the vectors that projection
  /// and normalisation make of that, [n, width()]. The first may be kept where the encoder does not change.
  at::Tensor pooled(const PackedTexts& texts, const StepContext& context) const;
  at::Tensor projected(const at::Tensor& pooled) const;

  int64_t width() const;

  /// Of the projection alone; empty without one. Part of `parameters`.
  ParameterList projection_parameters() const;
  const ParameterList& parameters() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rondo
