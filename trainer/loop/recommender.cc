#include "trainer/loop/recommender.h"

#include <algorithm>

namespace rondo {
namespace {

ModelOptions with_vocabulary(ModelOptions options, const RecommenderData& data) {
  options.text.vocabulary_size = std::max(options.text.vocabulary_size, data.vocabulary_size);
  return options;
}

}  // namespace

Recommender::Recommender(const ModelOptions& options, const RecommenderData& data, uint64_t seed, Communicator& comm)
    : seed(seed),
      features(data.catalog, data.tokens),
      model(with_vocabulary(options, data), features, seed),
      embedding(model.tables(), seed, comm, options.embedding) {}

CheckpointContent checkpoint_content(Recommender& recommender, const DenseOptimizer* optimizer) {
  CheckpointContent content;
  content.seed = recommender.seed;
  content.embedding = &recommender.embedding;
  for (const auto& parameter : recommender.model.parameters())
    content.dense.push_back({parameter.name, parameter.value});
  if (optimizer != nullptr) {
    for (const auto& state : optimizer->state()) content.dense.push_back({"optimizer." + state.name, state.value});
  }
  return content;
}

}  // namespace rondo
