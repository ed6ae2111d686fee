#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "sharding/base/random.h"

namespace rondo {

/// A dense, replicated parameter by its name ("text.encoder.layer.0.attention.query.weight"). The name is its identity
/// in checkpoints and in adapters' patterns.
struct NamedParameter {
  std::string name;
  at::Tensor value;   // shared with the layer that owns it
  bool decay = true;  // weight decay applies (not on biases and normalisation)
};
using ParameterList = std::vector<NamedParameter>;

/// What a forward pass needs to know of its step. Dropout and the like are functions of (seed, step, key): no state.
struct StepContext {
  uint64_t seed = 0;
  int64_t step = 0;
  bool training = false;
};

/// How parameters start: normal(0, standard_deviation), a pure function of (seed, name, element).
at::Tensor initial_normal(at::IntArrayRef shape, double standard_deviation, uint64_t seed, const std::string& name,
                          at::ScalarType dtype);

}  // namespace rondo
