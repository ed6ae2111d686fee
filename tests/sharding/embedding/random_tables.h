#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/plan/table_spec.h"

namespace rondo::testing {

/// A feature of a random job.
struct RandomFeature {
  std::string name;
  size_t table = 0;
  bool sequence = false;
  Pooling pooling = Pooling::kSum;
  bool counted = false;
};

/// Tables, features and batches drawn from a seed: every placement, optimizer, pooling and way home, small enough that
/// hundreds run in seconds. Everything is a function of (seed, arguments).
class RandomJob {
 public:
  RandomJob(uint64_t seed, int world) : random_(seed, 0, RandomPurpose::kTest), world_(world) {
    const uint64_t tables = 1 + draw(4);
    for (uint64_t t = 0; t < tables; ++t) add_table(t);
  }

  const std::vector<TableSpec>& tables() const { return tables_; }
  const std::vector<RandomFeature>& features() const { return features_; }

  /// Cuts of the global batch of a step, [world + 1]; shares are uneven and may be empty.
  std::vector<int64_t> cuts(int64_t step) const {
    const auto batch = static_cast<int64_t>(random_.below(18, key(1, step), 0));
    std::vector<int64_t> cuts{0, batch};
    for (int r = 1; r < world_; ++r) {
      cuts.push_back(static_cast<int64_t>(random_.below(static_cast<uint64_t>(batch) + 1, key(2, step), uint64_t(r))));
    }
    std::ranges::sort(cuts);
    return cuts;
  }

  /// Ids of one example: up to 6, skewed, often repeated.
  std::vector<uint64_t> ids(size_t feature, int64_t step, int64_t example) const {
    const TableSpec& spec = tables_[features_[feature].table];
    const uint64_t stream = key(100 + feature, step * 1000 + example);
    std::vector<uint64_t> ids(random_.below(7, stream, 0));
    for (size_t i = 0; i < ids.size(); ++i) {
      const double u = random_.uniform(stream, i + 1);
      const auto number = static_cast<uint64_t>(40.0 * u * u * u);
      ids[i] = spec.key_space == KeySpace::kDense ? number % static_cast<uint64_t>(spec.rows) : hashed_key(number);
    }
    return ids;
  }

  /// A weight above 0 that fp32 holds exactly.
  double weight(size_t feature, int64_t step, int64_t example, size_t i) const {
    return static_cast<double>(random_.below(64, key(200 + feature, step * 1000 + example), i)) / 16.0 + 0.0625;
  }

  /// Gradient of one column of a vector of an example (of entry `i` of a sequence) that has this value. Of one sign in
  /// each column: where gradients cancel, Adagrad and Adam turn the rounding error of their sum into a whole step.
  double gradient(size_t feature, int64_t step, int64_t example, size_t i, int64_t column, double value) const {
    const uint64_t stream = key(300 + feature, step * 1000 + example);
    const double size = 0.3 + random_.uniform(stream, i * 1000 + static_cast<uint64_t>(column));
    return (column % 2 == 0 ? size : -size) + 0.05 * value;
  }

  std::string describe() const {
    std::string text;
    for (const TableSpec& spec : tables_) text += rondo::describe(spec) + "\n";
    for (const RandomFeature& feature : features_) {
      text += concat("feature ", feature.name, ": ", feature.sequence ? "sequence" : "pooled", " ",
                     static_cast<int>(feature.pooling), feature.counted ? ", counted" : "", "\n");
    }
    return text;
  }

 private:
  static uint64_t hashed_key(uint64_t number) { return number == 3 ? 0 : mix64(number + 1); }
  uint64_t key(uint64_t kind, int64_t index) const { return kind << 40 | static_cast<uint64_t>(index); }
  uint64_t draw(uint64_t bound) { return random_.below(bound, 0, drawn_++); }
  template <typename T>
  T pick(const std::vector<T>& values) {
    return values[draw(values.size())];
  }

  void add_table(uint64_t t) {
    using Kind = RowOptimizerKind;
    TableSpec spec{.name = concat("table", t)};
    spec.placement = pick<Placement>({Placement::kReplicated, Placement::kRowWise, Placement::kRowWise,
                                      Placement::kTableWise, Placement::kColumnWise, Placement::kColumnWise});
    spec.key_space = pick<KeySpace>({KeySpace::kHashed, KeySpace::kDense});
    spec.rows = spec.key_space == KeySpace::kDense ? static_cast<int64_t>(pick<uint64_t>({1, 2, 5, 33})) : 0;
    spec.buckets = int64_t{1} << draw(9);
    spec.row_type = pick<RowType>({RowType::kFloat32, RowType::kFloat64});
    spec.dim = 1 + static_cast<int64_t>(draw(20));
    if (spec.placement == Placement::kColumnWise) {
      spec.column_shards = static_cast<int>(draw(static_cast<uint64_t>(world_) + 1));
      const int64_t shards = spec.column_shards == 0 ? world_ : spec.column_shards;
      spec.dim = shards * (1 + static_cast<int64_t>(draw(18)));
    }
    if (draw(3) == 0) spec.owner = static_cast<int>(draw(static_cast<uint64_t>(world_)));
    spec.optimizer = {
        .kind = pick<Kind>({Kind::kSgd, Kind::kRowWiseAdagrad, Kind::kAdam, Kind::kAdagrad, Kind::kRowWiseAdam}),
        .learning_rate = 0.1,
        .weight_decay = draw(2) == 0 ? 0.0 : 0.02};
    spec.count_decay = 0.1;
    if (spec.placement != Placement::kReplicated && draw(2) == 0) spec.way_home = WayHome::kSums;
    if (spec.placement == Placement::kRowWise && draw(2) == 0) {
      for (uint64_t number = 0; number < 6; number += 2) {
        const uint64_t hot = spec.key_space == KeySpace::kDense ? number : hashed_key(number);
        if (spec.key_space == KeySpace::kHashed || hot < static_cast<uint64_t>(spec.rows)) spec.hot_keys.push_back(hot);
      }
      std::ranges::sort(spec.hot_keys);
    }
    tables_.push_back(spec);
    const uint64_t features = draw(4);  // none: a table that a job does not ask for
    for (uint64_t f = 0; f < features; ++f) {
      features_.push_back({.name = concat("table", t, "/feature", f),
                           .table = tables_.size() - 1,
                           .sequence = draw(3) == 0,
                           .pooling = pick<Pooling>({Pooling::kSum, Pooling::kMean, Pooling::kWeighted}),
                           .counted = f == 0});
    }
  }

  CounterRandom random_;
  int world_;
  uint64_t drawn_ = 0;
  std::vector<TableSpec> tables_;
  std::vector<RandomFeature> features_;
};

}  // namespace rondo::testing
