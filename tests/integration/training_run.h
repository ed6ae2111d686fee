#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/loop/recommender.h"
#include "trainer/loop/train_options.h"
#include "trainer/model/model_options.h"

namespace rondo::testing {

/// How a tiny model is trained on the TinyShop.
struct TrainingRunOptions {
  ModelOptions model;
  TrainOptions train;
  int64_t steps = 50;
  uint64_t seed = 5;
};

/// A small model with everything in it: id, category and text, dropout on, text of histories from the table.
TrainingRunOptions tiny_run(at::ScalarType dtype, Placement placement, RowOptimizerKind rows, DenseOptimizerKind dense);

/// One row of a table at the end of a run.
struct FinalRow {
  at::Tensor values;
  at::Tensor state;
  int64_t version = 0;
};

/// What a run ends with, as this rank sees it.
struct TrainingRun {
  std::vector<double> losses;                                // [steps]
  std::map<std::string, at::Tensor> dense;                   // parameters and optimizer state
  std::map<std::string, std::map<uint64_t, FinalRow>> rows;  // table -> key -> row, those that this rank owns
};

/// The state of a recommender on this rank.
TrainingRun collect(Recommender& recommender, const DenseOptimizer* optimizer);

/// Trains on the ranks of `comm`; every rank holds the rows that it owns.
TrainingRun run_training(Communicator& comm, const TrainingRunOptions& options);

/// Largest difference over largest value, for every tensor of `got` that `expected` has too; "name: figure" of the
/// worst.
struct Deviation {
  double value = 0.0;
  std::string where;
};
Deviation deviation(const TrainingRun& got, const TrainingRun& expected);

}  // namespace rondo::testing
