#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "trainer/nn/parameter.h"
#include "trainer/nn/products.h"

namespace rondo {

/// How the layers of one network start.
struct Initializer {
  double standard_deviation = 0.02;  // of weights; biases start at 0
  uint64_t seed = 0;
  at::ScalarType dtype = at::kFloat;
  ProductPrecision products = ProductPrecision::kFloat32;  // of fp32 layers
};

/// y = x W^T + b.
struct Linear {
  at::Tensor weight;  // [out, in]
  at::Tensor bias;    // [out]
  ProductPrecision precision = ProductPrecision::kFloat32;
  std::shared_ptr<const KeptWeight> kept;  // by copies of the layer

  Linear() = default;
  /// Named `name`: its weights are a function of that name.
  Linear(const std::string& name, int64_t in, int64_t out, const Initializer& start);
  void collect(const std::string& name, ParameterList& list) const;

  /// x W^T without the bias, which the operation that follows adds. The seam for adapters: what they add to a layer's
  /// output is added here.
  at::Tensor product(const at::Tensor& x) const;

  /// gelu(x W^T + b) in its erf form, [rows, out]: fp32, or a bf16 factor for the next product where nothing learns.
  at::Tensor gelu(const at::Tensor& x) const;

  at::Tensor forward(const at::Tensor& x) const;
};

/// Query, key and value of an attention, three parameters pairs that lie in one block so that one product serves all.
struct QueryKeyValue {
  at::Tensor joined_weight;  // [3 * width, width], storage of the three weights; not a parameter
  at::Tensor joined_bias;    // [3 * width]
  Linear query, key, value;  // views of the block; restore them in place (copy_)
  ProductPrecision precision = ProductPrecision::kFloat32;
  std::shared_ptr<const KeptWeight> kept;  // of the block, by copies of the layer

  QueryKeyValue() = default;
  QueryKeyValue(const std::string& name, int64_t width, const Initializer& start);
  void collect(const std::string& name, ParameterList& list) const;

  /// [rows, 3 * width]: query, key and value of each row.
  at::Tensor forward(const at::Tensor& x) const;
};

/// Weight 1 and bias 0 at the start; neither decays.
struct LayerNorm {
  at::Tensor weight;  // [width]
  at::Tensor bias;    // [width]
  double eps = 1e-12;

  LayerNorm() = default;
  LayerNorm(int64_t width, double eps, at::ScalarType dtype);
  void collect(const std::string& name, ParameterList& list) const;
};

/// A table of rows, [entries, width]: words, positions, token types.
struct EmbeddingLayer {
  at::Tensor weight;

  EmbeddingLayer() = default;
  EmbeddingLayer(const std::string& name, int64_t entries, int64_t width, const Initializer& start);
  void collect(const std::string& name, ParameterList& list) const;
};

}  // namespace rondo
