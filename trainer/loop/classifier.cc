#include "trainer/loop/classifier.h"

namespace rondo {

CheckpointContent checkpoint_content(const TextClassifier& model, uint64_t seed, const DenseOptimizer* optimizer) {
  CheckpointContent content;
  content.seed = seed;
  for (const auto& parameter : model.parameters()) content.dense.push_back({parameter.name, parameter.value});
  if (optimizer != nullptr) {
    for (const auto& state : optimizer->state()) content.dense.push_back({"optimizer." + state.name, state.value});
  }
  return content;
}

}  // namespace rondo
