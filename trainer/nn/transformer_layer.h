#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "trainer/nn/layers.h"
#include "trainer/nn/packed_rows.h"
#include "trainer/nn/parameter.h"

namespace rondo {

/// Shape of a transformer layer.
struct TransformerLayerOptions {
  int64_t width = 0;
  int64_t heads = 0;  // divides width
  int64_t intermediate = 0;
  double layer_norm_eps = 1e-12;
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
};

/// What every layer of one forward pass shares.
struct PackedBatch {
  PackedRowsPtr rows;
  StepContext context;
};

/// One layer of BERT (post-LN): attention, then a GELU network, each with dropout, residual and LayerNorm.
struct TransformerLayer {
  TransformerLayerOptions options;
  QueryKeyValue attention_self;
  Linear attention_output;
  LayerNorm attention_norm;
  Linear intermediate;
  Linear output;
  LayerNorm output_norm;

  TransformerLayer(const std::string& name, const TransformerLayerOptions& options, const Initializer& start);
  void collect(const std::string& name, ParameterList& list) const;

  /// [rows, width] to [rows, width]. `layer` is its place in the network: it tells its dropout from the others'.
  at::Tensor forward(const at::Tensor& x, const PackedBatch& batch, int64_t layer) const;

  /// The first row of each text of what `forward` gives, [texts, width]: all that is behind the attention is computed
  /// for these rows alone. What the last layer owes to a pooling that reads [CLS] and nothing else.
  at::Tensor forward_first(const at::Tensor& x, const PackedBatch& batch, int64_t layer) const;

 private:
  at::Tensor attend(const at::Tensor& x, const PackedBatch& batch, int64_t layer) const;
  at::Tensor finish(const at::Tensor& attended, const at::Tensor& x, const PackedBatch& batch, int64_t layer) const;
};

}  // namespace rondo
