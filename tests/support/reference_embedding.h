#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <vector>

#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "sharding/plan/table_spec.h"

namespace rondo::testing {

/// The oracle of the embedding tests: one table in one process, rows in a std::map, plain loops in fp64, counts
/// decayed for every row at every step. Shares the definition of initial values with the product, and no other code.
class ReferenceEmbedding {
 public:
  struct Row {
    std::vector<double> values;
    double accumulator = 0.0;           // row-wise Adagrad, row-wise Adam
    std::vector<double> first, second;  // Adam; Adagrad has its accumulators in `second`
    double count = 0.0;
    int64_t version = 0;
  };

  /// What one step says of one row: the sum of its gradients over the global batch, and its counted ids there.
  struct Touch {
    std::vector<double> gradient;
    int64_t occurrences = 0;
  };

  ReferenceEmbedding(TableSpec spec, uint64_t seed) : spec_(std::move(spec)), seed_(seed) {}

  const std::map<uint64_t, Row>& rows() const { return rows_; }

  /// The row of `key`, made when there is none.
  Row& row(uint64_t key) {
    const auto [place, fresh] = rows_.try_emplace(key);
    if (fresh) start(key, place->second);
    return place->second;
  }

  /// One optimizer step. The formulas are those of DESIGN 4, written out.
  void step(const std::map<uint64_t, Touch>& touched, int64_t step, double learning_rate_factor) {
    for (auto& [key, row] : rows_) row.count *= 1.0 - spec_.count_decay;
    for (const auto& [key, touch] : touched) {
      Row& row = this->row(key);
      row.count += spec_.count_decay * static_cast<double>(touch.occurrences);
      row.version = step;
      learn(row, touch.gradient, step, spec_.optimizer.learning_rate * learning_rate_factor);
    }
  }

 private:
  void start(uint64_t key, Row& row) const {
    const CounterRandom random(seed_ ^ hash_bytes(spec_.name), 0, RandomPurpose::kInitialRow);
    for (int64_t c = 0; c < spec_.dim; ++c) {
      row.values.push_back(spec_.initial_scale * (2.0 * random.uniform(key, static_cast<uint64_t>(c)) - 1.0));
    }
    row.first.assign(row.values.size(), 0.0);
    row.second.assign(row.values.size(), 0.0);
  }

  void learn(Row& row, const std::vector<double>& gradient, int64_t step, double rate) const {
    const RowOptimizerOptions& options = spec_.optimizer;
    const size_t dim = row.values.size();
    double mean_square = 0.0;
    for (const double g : gradient) mean_square += g * g / static_cast<double>(dim);
    if (options.kind == RowOptimizerKind::kRowWiseAdagrad) row.accumulator += mean_square;
    if (options.kind == RowOptimizerKind::kRowWiseAdam) {
      row.accumulator = options.beta2 * row.accumulator + (1.0 - options.beta2) * mean_square;
    }
    for (size_t c = 0; c < dim; ++c) {
      row.values[c] -= rate * (direction(row, c, gradient[c], step) + options.weight_decay * row.values[c]);
    }
  }

  double direction(Row& row, size_t c, double gradient, int64_t step) const {
    const RowOptimizerOptions& options = spec_.optimizer;
    const double unbias1 = 1.0 - std::pow(options.beta1, step), unbias2 = 1.0 - std::pow(options.beta2, step);
    row.first[c] = options.beta1 * row.first[c] + (1.0 - options.beta1) * gradient;
    switch (options.kind) {
      case RowOptimizerKind::kNone:
        return 0.0;
      case RowOptimizerKind::kSgd:
        return gradient;
      case RowOptimizerKind::kAdagrad:
        row.second[c] += gradient * gradient;
        return gradient / (std::sqrt(row.second[c]) + options.epsilon);
      case RowOptimizerKind::kRowWiseAdagrad:
        return gradient / (std::sqrt(row.accumulator) + options.epsilon);
      case RowOptimizerKind::kAdam:
        row.second[c] = options.beta2 * row.second[c] + (1.0 - options.beta2) * gradient * gradient;
        return row.first[c] / unbias1 / (std::sqrt(row.second[c] / unbias2) + options.epsilon);
      case RowOptimizerKind::kRowWiseAdam:
        return row.first[c] / unbias1 / (std::sqrt(row.accumulator / unbias2) + options.epsilon);
    }
    return 0.0;
  }

  TableSpec spec_;
  uint64_t seed_;
  std::map<uint64_t, Row> rows_;
};

}  // namespace rondo::testing
