#pragma once

#include <filesystem>

#include "tests/integration/training_run.h"
#include "trainer/loop/classifier.h"
#include "trainer/loop/train_loop.h"

namespace rondo::testing {

/// How a tiny classifier is trained on the TinyTexts.
struct ClassifierRunOptions {
  ClassifierOptions classifier;
  TrainOptions train;
  uint64_t seed = 5;
  std::filesystem::path folder;  // of checkpoints; empty: none
  int64_t stop_at = 0;           // asks to stop in this step
  std::vector<double> scores;    // what validations say, one by one; empty: what they find
};

/// Two layers, dropout everywhere, weights of classes, batches that leave ranks of a large world empty.
ClassifierRunOptions tiny_classifier(at::ScalarType dtype, DenseOptimizerKind optimizer);

/// What a training ends with; the same on every rank.
struct ClassifierRun : TrainingRun {
  TrainOutcome outcome;
  std::vector<double> scores;      // of the validations
  std::vector<double> imbalances;  // of the steps
  std::vector<double> answers;     // probabilities of the test texts
};

/// Trains on the ranks of `comm`, from the newest checkpoint of the folder if there is one. Validates after every
/// epoch.
ClassifierRun run_classifier(Communicator& comm, const ClassifierRunOptions& options);

/// One rank alone.
ClassifierRun run_classifier_alone(const ClassifierRunOptions& options);

}  // namespace rondo::testing
