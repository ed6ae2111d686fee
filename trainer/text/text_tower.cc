#include "trainer/text/text_tower.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/tanh.h>

#include <cmath>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"
#include "trainer/nn/dropout.h"
#include "trainer/nn/layers.h"
#include "trainer/nn/packed_ops.h"
#include "trainer/nn/transformer_layer.h"

namespace rondo {
namespace {

constexpr uint64_t kEmbeddingSite = 0;
constexpr int64_t kTokensPerPiece = 512;  // activations that fit a core's cache, products that are still fast

void check_range(const char* field, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most) {
    throw ConfigError(concat("text tower: ", field, " must be in [", least, ", ", most, "], got ", value));
  }
}

void check_probability(const char* field, double value) {
  if (!(value >= 0.0 && value <= 0.99)) {
    throw ConfigError(concat("text tower: ", field, " must be in [0, 0.99], got ", value));
  }
}

void check_positive(const char* field, double value) {
  if (!(value > 0.0) || !std::isfinite(value)) {
    throw ConfigError(concat("text tower: ", field, " must be positive, got ", value));
  }
}

TransformerLayerOptions layer_options(const TextTowerOptions& options) {
  return {.width = options.hidden_size,
          .heads = options.num_attention_heads,
          .intermediate = options.intermediate_size,
          .layer_norm_eps = options.layer_norm_eps,
          .hidden_dropout = options.hidden_dropout_prob,
          .attention_dropout = options.attention_probs_dropout_prob};
}

void check_texts(const PackedTexts& texts, const TextTowerOptions& options) {
  RONDO_CHECK_EQ(texts.offsets.size(), texts.digests.size() + 1, "offsets of packed texts");
  for (int64_t t = 0; t < texts.size(); ++t) {
    const auto tokens = texts.text(t);
    if (tokens.empty() || tokens.size() > static_cast<size_t>(options.max_position_embeddings)) {
      throw DataError(concat("text ", t, " of the batch: 1 to ", options.max_position_embeddings,
                             " tokens expected (max_position_embeddings), got ", tokens.size()));
    }
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] < 0 || tokens[i] >= options.vocabulary_size) {
        throw DataError(concat("text ", t, " of the batch: token ", tokens[i], " at position ", i,
                               " is outside the vocabulary of ", options.vocabulary_size,
                               "; was it tokenised with another vocabulary?"));
      }
    }
  }
}

PackedRowsPtr packed_rows(const PackedTexts& texts) {
  return make_packed_rows(texts.tokens, texts.offsets, texts.digests);
}

}  // namespace

void validate(const TextTowerOptions& options) {
  constexpr int64_t kMostEntries = INT32_MAX;
  check_range("vocabulary_size", options.vocabulary_size, 1, kMostEntries);
  check_range("hidden_size", options.hidden_size, 1, 1 << 16);
  check_range("num_hidden_layers", options.num_hidden_layers, 0, 1 << 10);
  check_range("num_attention_heads", options.num_attention_heads, 1, options.hidden_size);
  if (options.hidden_size % options.num_attention_heads != 0) {
    throw ConfigError(concat("text tower: num_attention_heads must divide hidden_size (", options.hidden_size,
                             "), got ", options.num_attention_heads));
  }
  check_range("intermediate_size", options.intermediate_size, 1, 1 << 20);
  check_range("max_position_embeddings", options.max_position_embeddings, 1, 1 << 20);
  check_range("type_vocab_size", options.type_vocab_size, 1, 1 << 20);
  check_range("output_size", options.output_size, 0, 1 << 16);
  check_positive("layer_norm_eps", options.layer_norm_eps);
  check_positive("initializer_range", options.initializer_range);
  check_probability("hidden_dropout_prob", options.hidden_dropout_prob);
  check_probability("attention_probs_dropout_prob", options.attention_probs_dropout_prob);
}

struct TextTower::Impl {
  TextTowerOptions options;
  EmbeddingLayer word, position, token_type;
  LayerNorm embedding_norm;
  std::vector<TransformerLayer> layers;
  Linear pooler;      // undefined but for its pooling
  Linear projection;  // undefined where output_size is 0
  ParameterList parameters, projection_parameters;

  Impl(const TextTowerOptions& shape, const std::string& prefix, const Initializer& start) : options(shape) {
    const std::string root = prefix.empty() ? "" : prefix + ".";
    const std::string embeddings = root + "embeddings.";
    const int64_t width = shape.hidden_size;
    word = EmbeddingLayer(embeddings + "word_embeddings", shape.vocabulary_size, width, start);
    position = EmbeddingLayer(embeddings + "position_embeddings", shape.max_position_embeddings, width, start);
    token_type = EmbeddingLayer(embeddings + "token_type_embeddings", shape.type_vocab_size, width, start);
    embedding_norm = LayerNorm(width, shape.layer_norm_eps, start.dtype);
    word.collect(embeddings + "word_embeddings", parameters);
    position.collect(embeddings + "position_embeddings", parameters);
    token_type.collect(embeddings + "token_type_embeddings", parameters);
    embedding_norm.collect(embeddings + "LayerNorm", parameters);
    for (int64_t i = 0; i < shape.num_hidden_layers; ++i) {
      const std::string name = concat(root, "encoder.layer.", i);
      layers.emplace_back(name, layer_options(shape), start);
      layers.back().collect(name, parameters);
    }
    if (shape.pooling == TextPooling::kPooler) {
      pooler = Linear(root + "pooler.dense", width, width, start);
      pooler.collect(root + "pooler.dense", parameters);
    }
    if (shape.output_size > 0) {
      projection = Linear(root + "projection", width, shape.output_size, start);
      projection.collect(root + "projection", projection_parameters);
      parameters.insert(parameters.end(), projection_parameters.begin(), projection_parameters.end());
    }
  }

  /// Of what `encoded` gave.
  at::Tensor pooled(const at::Tensor& x, const PackedRowsPtr& rows) const {
    switch (options.pooling) {
      case TextPooling::kMean:
        return pool_mean(x, rows);
      case TextPooling::kMax:
        return pool_max(x, rows);
      case TextPooling::kCls:
        return x;
      case TextPooling::kPooler:
        return at::tanh(pooler.forward(x));
    }
    throw InternalError("an unknown pooling");
  }

  bool reads_first_alone() const {
    return options.pooling == TextPooling::kCls || options.pooling == TextPooling::kPooler;
  }

  /// What the pooling reads: all rows, or the first of each text.
  at::Tensor encoded(at::Tensor x, const PackedBatch& batch) const {
    const size_t whole = reads_first_alone() && !layers.empty() ? layers.size() - 1 : layers.size();
    for (size_t i = 0; i < whole; ++i) x = layers[i].forward(x, batch, static_cast<int64_t>(i));
    if (!reads_first_alone()) return x;
    return layers.empty() ? pool_first(x, batch.rows)
                          : layers[whole].forward_first(x, batch, static_cast<int64_t>(whole));
  }

  at::Tensor forward(const PackedBatch& batch) const {
    const DropoutSite site(options.hidden_dropout_prob, batch.context, kEmbeddingSite);
    const at::Tensor x =
        embed_tokens({word.weight, position.weight, token_type.weight}, embedding_norm, {batch.rows, site});
    return pooled(encoded(x, batch), batch.rows);  // [texts, hidden_size]
  }

  /// Without gradients texts have nothing to do with each other: a thread takes some of them through all layers, where
  /// each operation of all texts together would end in a wait for the slower threads.
  at::Tensor forward_in_pieces(const PackedTexts& texts, const StepContext& context) const {
    const at::NoGradGuard no_grad;
    const std::vector<PackedTexts> pieces = cut_texts(texts, kTokensPerPiece);
    if (threads() == 1 || static_cast<int>(pieces.size()) < threads() || !word.weight.is_cpu()) {
      return forward({packed_rows(texts), context});
    }
    std::vector<at::Tensor> vectors(pieces.size());
    parallel_for(static_cast<int64_t>(pieces.size()), 1, [&](int64_t begin, int64_t end) {
      const at::NoGradGuard none_in_this_thread;
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        vectors[i] = forward({packed_rows(pieces[i]), context});
      }
    });
    return at::cat(vectors);
  }
};

TextTower::TextTower(const TextTowerOptions& options, const std::string& prefix, uint64_t seed, at::ScalarType dtype) {
  validate(options);
  RONDO_CHECK(dtype == at::kFloat || dtype == at::kDouble, "dtype of the text tower: ", at::toString(dtype));
  impl_ =
      std::make_unique<Impl>(options, prefix, Initializer{options.initializer_range, seed, dtype, options.precision});
}

TextTower::~TextTower() = default;

at::Tensor TextTower::encode(const PackedTexts& texts, const StepContext& context) const {
  const at::AutoGradMode gradients(context.training && at::GradMode::is_enabled());
  return projected(pooled(texts, context));
}

at::Tensor TextTower::pooled(const PackedTexts& texts, const StepContext& context) const {
  check_texts(texts, impl_->options);
  const bool gradients = context.training && at::GradMode::is_enabled();
  if (!gradients) return impl_->forward_in_pieces(texts, context);
  return impl_->forward({packed_rows(texts), context});
}

at::Tensor TextTower::projected(const at::Tensor& pooled) const {
  const at::Tensor x = impl_->projection.weight.defined() ? impl_->projection.forward(pooled) : pooled;
  return impl_->options.normalize ? x / x.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12) : x;
}

int64_t TextTower::width() const {
  return impl_->options.output_size > 0 ? impl_->options.output_size : impl_->options.hidden_size;
}

const ParameterList& TextTower::parameters() const { return impl_->parameters; }

ParameterList TextTower::projection_parameters() const { return impl_->projection_parameters; }

}  // namespace rondo
