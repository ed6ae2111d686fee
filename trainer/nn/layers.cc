#include "trainer/nn/layers.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

namespace rondo {

Linear::Linear(const std::string& name, int64_t in, int64_t out, const Initializer& start)
    : weight(initial_normal({out, in}, start.standard_deviation, start.seed, name + ".weight", start.dtype)
                 .requires_grad_()),
      bias(at::zeros({out}, start.dtype).requires_grad_()),
      precision(start.products),
      kept(std::make_shared<KeptWeight>()) {}

void Linear::collect(const std::string& name, ParameterList& list) const {
  list.push_back({name + ".weight", weight, true});
  list.push_back({name + ".bias", bias, false});
}

QueryKeyValue::QueryKeyValue(const std::string& name, int64_t width, const Initializer& start)
    : joined_weight(at::empty({3 * width, width}, start.dtype)),
      joined_bias(at::zeros({3 * width}, start.dtype)),
      precision(start.products),
      kept(std::make_shared<KeptWeight>()) {
  const auto part = [&](int64_t index, const char* which) {
    Linear linear;
    linear.weight = joined_weight.narrow(0, index * width, width).detach();
    linear.bias = joined_bias.narrow(0, index * width, width).detach();
    linear.weight.copy_(initial_normal({width, width}, start.standard_deviation, start.seed,
                                       name + "." + which + ".weight", start.dtype));
    linear.weight.requires_grad_();
    linear.bias.requires_grad_();
    linear.precision = start.products;
    linear.kept = std::make_shared<KeptWeight>();
    return linear;
  };
  query = part(0, "query");
  key = part(1, "key");
  value = part(2, "value");
}

void QueryKeyValue::collect(const std::string& name, ParameterList& list) const {
  query.collect(name + ".query", list);
  key.collect(name + ".key", list);
  value.collect(name + ".value", list);
}

LayerNorm::LayerNorm(int64_t width, double epsilon, at::ScalarType dtype)
    : weight(at::ones({width}, dtype).requires_grad_()),
      bias(at::zeros({width}, dtype).requires_grad_()),
      eps(epsilon) {}

void LayerNorm::collect(const std::string& name, ParameterList& list) const {
  list.push_back({name + ".weight", weight, false});
  list.push_back({name + ".bias", bias, false});
}

EmbeddingLayer::EmbeddingLayer(const std::string& name, int64_t entries, int64_t width, const Initializer& start)
    : weight(initial_normal({entries, width}, start.standard_deviation, start.seed, name + ".weight", start.dtype)
                 .requires_grad_()) {}

void EmbeddingLayer::collect(const std::string& name, ParameterList& list) const {
  list.push_back({name + ".weight", weight, true});
}

}  // namespace rondo
