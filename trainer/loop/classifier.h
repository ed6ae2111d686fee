#pragma once

#include <cstdint>
#include <vector>

#include "trainer/checkpoint/checkpoint_content.h"
#include "trainer/model/text_classifier.h"
#include "trainer/optim/dense_optimizer.h"

namespace rondo {

/// How the texts of a batch are spread over ranks.
enum class TextDispatch : uint8_t {
  kLocal,     ///< each rank encodes those of its examples
  kBalanced,  ///< the distinct texts of the global batch, by tokens; their vectors travel back
};

/// How a classifier learns.
struct ClassifierOptions {
  TextClassifierOptions model;        // tower.vocabulary_size and classes come from the dataset
  std::vector<double> class_weights;  ///< [classes], factors on the weights of examples; empty: 1
  TextDispatch dispatch = TextDispatch::kBalanced;
};

/// The state of a model (and of its optimizer, if given) as a checkpoint holds it; tensors are shared.
CheckpointContent checkpoint_content(const TextClassifier& model, uint64_t seed, const DenseOptimizer* optimizer);

}  // namespace rondo
