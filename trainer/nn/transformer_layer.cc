#include "trainer/nn/transformer_layer.h"

#include "trainer/nn/dropout.h"
#include "trainer/nn/packed_ops.h"

namespace rondo {
namespace {

/// Places of a layer that drop; site 0 of a network is its embedding. Part of what a seed means: never renumber.
enum Site : uint64_t { kAttentionWeights = 1, kAttentionOutput = 2, kOutput = 3, kSitesPerLayer = 4 };

PackedDropout dropout_at(double probability, const PackedBatch& batch, int64_t layer, Site site) {
  return {batch.rows, DropoutSite(probability, batch.context, static_cast<uint64_t>(layer) * kSitesPerLayer + site)};
}

}  // namespace

TransformerLayer::TransformerLayer(const std::string& name, const TransformerLayerOptions& shape,
                                   const Initializer& start)
    : options(shape),
      attention_self(name + ".attention.self", shape.width, start),
      attention_output(name + ".attention.output.dense", shape.width, shape.width, start),
      attention_norm(shape.width, shape.layer_norm_eps, start.dtype),
      intermediate(name + ".intermediate.dense", shape.width, shape.intermediate, start),
      output(name + ".output.dense", shape.intermediate, shape.width, start),
      output_norm(shape.width, shape.layer_norm_eps, start.dtype) {}

void TransformerLayer::collect(const std::string& name, ParameterList& list) const {
  attention_self.collect(name + ".attention.self", list);
  attention_output.collect(name + ".attention.output.dense", list);
  attention_norm.collect(name + ".attention.output.LayerNorm", list);
  intermediate.collect(name + ".intermediate.dense", list);
  output.collect(name + ".output.dense", list);
  output_norm.collect(name + ".output.LayerNorm", list);
}

at::Tensor TransformerLayer::forward(const at::Tensor& x, const PackedBatch& batch, int64_t layer) const {
  return finish(attend(x, batch, layer), x, batch, layer);
}

at::Tensor TransformerLayer::forward_first(const at::Tensor& x, const PackedBatch& batch, int64_t layer) const {
  const PackedBatch first{first_rows(*batch.rows), batch.context};
  return finish(pool_first(attend(x, batch, layer), batch.rows), pool_first(x, batch.rows), first, layer);
}

at::Tensor TransformerLayer::attend(const at::Tensor& x, const PackedBatch& batch, int64_t layer) const {
  return packed_attention(attention_self.forward(x), options.heads,
                          dropout_at(options.attention_dropout, batch, layer, kAttentionWeights));
}

at::Tensor TransformerLayer::finish(const at::Tensor& attended, const at::Tensor& x, const PackedBatch& batch,
                                    int64_t layer) const {
  const at::Tensor middle =
      residual_norm({attention_output.product(attended), attention_output.bias}, x, attention_norm,
                    dropout_at(options.hidden_dropout, batch, layer, kAttentionOutput));
  const at::Tensor hidden = intermediate.gelu(middle);
  return residual_norm({output.product(hidden), output.bias}, middle, output_norm,
                       dropout_at(options.hidden_dropout, batch, layer, kOutput));
}

}  // namespace rondo
