// Sharded equals unsharded: random tables, features and batches over ranks against plain loops in one process.
//
//   RONDO_TEST_SEED=123 embedding_random_tables_test      repeats what a failure names
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "sharding/embedding/sharded_embedding.h"
#include "tests/sharding/embedding/random_tables.h"
#include "tests/support/rank_test.h"
#include "tests/support/reference_embedding.h"

namespace rondo {
namespace {

using testing::RandomFeature;
using testing::RandomJob;
using testing::ReferenceEmbedding;

constexpr int kJobs = 64;  // at each world
constexpr int64_t kSteps = 4;
constexpr uint64_t kInitialSeed = 17;

uint64_t first_seed() {
  const char* const given = std::getenv("RONDO_TEST_SEED");
  return given == nullptr ? 2024 : std::strtoull(given, nullptr, 10);
}

double tolerance(const TableSpec& spec) { return spec.row_type == RowType::kFloat64 ? 1e-9 : 1e-5; }

at::ScalarType scalars(const TableSpec& spec) { return spec.row_type == RowType::kFloat64 ? at::kDouble : at::kFloat; }

at::Tensor to_tensor(const std::vector<double>& values, std::vector<int64_t> shape, at::ScalarType type) {
  at::Tensor tensor = at::empty(shape, at::kDouble);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<double>());
  return tensor.to(type);
}

template <typename T>
at::Tensor to_longs(const std::vector<T>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::transform(values.begin(), values.end(), tensor.mutable_data_ptr<int64_t>(),
                 [](T value) { return static_cast<int64_t>(value); });
  return tensor;
}

/// Largest difference over largest value, which counts as no less than `scale`.
void expect_near(const at::Tensor& got, const std::vector<double>& expected, double limit, double scale,
                 const std::string& what) {
  const at::Tensor wide = got.detach().to(at::kDouble).contiguous();
  ASSERT_EQ(wide.numel(), static_cast<int64_t>(expected.size())) << what;
  double difference = 0.0, largest = scale;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference = std::max(difference, std::abs(wide.const_data_ptr<double>()[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  EXPECT_LE(difference / largest, limit) << what;
}

/// One rank of a job, and the whole job beside it in plain loops.
class OracleRun {
 public:
  OracleRun(const RandomJob& job, Communicator& comm)
      : job_(job), comm_(comm), embedding_(job.tables(), kInitialSeed, comm) {
    for (const TableSpec& spec : job.tables()) {
      references_.emplace_back(spec, kInitialSeed);
      scales_.push_back(spec.initial_scale);
    }
  }

  void run() {
    for (int64_t step = 1; step <= kSteps; ++step) train(step);
    evaluate();
  }

 private:
  using Touches = std::map<uint64_t, ReferenceEmbedding::Touch>;

  const TableSpec& spec_of(size_t feature) const { return job_.tables()[job_.features()[feature].table]; }

  /// The weight of entry `i` of a bag of `size`.
  double weight(size_t feature, int64_t step, int64_t example, size_t i, size_t size) const {
    switch (job_.features()[feature].pooling) {
      case Pooling::kSum:
        return 1.0;
      case Pooling::kMean:
        return 1.0 / static_cast<double>(size);
      case Pooling::kWeighted:
        return job_.weight(feature, step, example, i);
    }
    return 0.0;
  }

  std::vector<double> bag(size_t feature, int64_t step, int64_t example) {
    const auto ids = job_.ids(feature, step, example);
    std::vector<double> sum(static_cast<size_t>(spec_of(feature).dim));
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto& row = references_[job_.features()[feature].table].row(ids[i]);
      const double w = weight(feature, step, example, i, ids.size());
      for (size_t c = 0; c < sum.size(); ++c) sum[c] += w * row.values[c];
    }
    return sum;
  }

  void ask(int64_t step, int64_t first, int64_t last) {
    std::vector<std::vector<uint64_t>> sequences(job_.tables().size());
    ids_.assign(job_.tables().size(), {});
    pooled_.clear();
    for (size_t f = 0; f < job_.features().size(); ++f) {
      const RandomFeature& feature = job_.features()[f];
      std::vector<uint64_t> keys;
      std::vector<int64_t> offsets{0};
      std::vector<double> weights;
      for (int64_t e = first; e < last; ++e) {
        const auto ids = job_.ids(f, step, e);
        for (size_t i = 0; i < ids.size(); ++i) weights.push_back(job_.weight(f, step, e, i));
        keys.insert(keys.end(), ids.begin(), ids.end());
        offsets.push_back(static_cast<int64_t>(keys.size()));
      }
      if (feature.sequence) {
        auto& of_table = sequences[feature.table];
        ids_[feature.table].features.push_back({feature.name, static_cast<int64_t>(of_table.size())});
        of_table.insert(of_table.end(), keys.begin(), keys.end());
        if (feature.counted) ids_[feature.table].counted = static_cast<int64_t>(keys.size());
        continue;
      }
      pooled_.push_back({.name = feature.name,
                         .table = static_cast<int64_t>(feature.table),
                         .keys = to_longs(keys),
                         .offsets = to_longs(offsets),
                         .pooling = feature.pooling,
                         .weights = {},
                         .counted = feature.counted ? static_cast<int64_t>(keys.size()) : 0});
      if (feature.pooling == Pooling::kWeighted) {
        pooled_.back().weights =
            to_tensor(weights, {static_cast<int64_t>(weights.size())}, scalars(job_.tables()[feature.table]));
      }
    }
    for (size_t t = 0; t < sequences.size(); ++t) ids_[t].keys = to_longs(sequences[t]);
  }

  void train(int64_t step) {
    const std::vector<int64_t> cuts = job_.cuts(step);
    const int64_t first = cuts[static_cast<size_t>(comm_.rank())], last = cuts[static_cast<size_t>(comm_.rank()) + 1];
    ask(step, first, last);
    embedding_.route(ids_, LookupMode::kTrain, pooled_, routed_);
    EmbeddedBatch batch = embedding_.lookup(routed_, step);
    size_t next_bag = 0;
    std::vector<int64_t> next_id(job_.tables().size());
    std::vector<at::Tensor> gradients;
    for (size_t t = 0; t < job_.tables().size(); ++t) {
      gradients.push_back(at::zeros(batch.tables[t].values.sizes(), at::kDouble));
    }
    for (size_t f = 0; f < job_.features().size(); ++f) {
      const RandomFeature& feature = job_.features()[f];
      if (feature.sequence) {
        check_sequence(f, step, {first, last}, batch.tables[feature.table], next_id[feature.table],
                       gradients[feature.table]);
      } else {
        check_bags(f, step, {first, last}, batch.bags[next_bag++]);
      }
    }
    for (size_t t = 0; t < gradients.size(); ++t) {
      batch.tables[t].values.mutable_grad() = gradients[t].to(scalars(job_.tables()[t]));
    }
    embedding_.learn(routed_, batch, step, 1.0 / static_cast<double>(step));
    reference_step(step, cuts.back());
  }

  void check_bags(size_t f, int64_t step, BucketRange examples, at::Tensor& bags) {
    std::vector<double> expected, gradient;
    for (int64_t e = examples.first; e < examples.last; ++e) {
      const std::vector<double> sum = bag(f, step, e);
      expected.insert(expected.end(), sum.begin(), sum.end());
      for (size_t c = 0; c < sum.size(); ++c) {
        gradient.push_back(job_.gradient(f, step, e, 0, static_cast<int64_t>(c), sum[c]));
      }
    }
    expect_near(bags, expected, tolerance(spec_of(f)), scales_[job_.features()[f].table],
                concat("bags of ", job_.features()[f].name, " step ", step));
    EXPECT_TRUE(bags.is_leaf() && bags.requires_grad());
    bags.mutable_grad() = to_tensor(gradient, bags.sizes().vec(), bags.scalar_type());
  }

  /// Checks rows, counts and marks of the ids of one sequence feature and adds to the gradient of the rows.
  void check_sequence(size_t f, int64_t step, BucketRange examples, const TableRows& rows, int64_t& next,
                      at::Tensor& gradient) {
    const size_t t = job_.features()[f].table;
    const int64_t dim = job_.tables()[t].dim;
    const int64_t* const positions = routed_.tables[t].positions.const_data_ptr<int64_t>();
    std::vector<double> expected;
    std::vector<int64_t> places;
    auto* const g = gradient.mutable_data_ptr<double>();
    for (int64_t e = examples.first; e < examples.last; ++e) {
      const auto ids = job_.ids(f, step, e);
      for (size_t i = 0; i < ids.size(); ++i) {
        const int64_t place = positions[next++];
        const auto& row = references_[t].row(ids[i]);
        places.push_back(place);
        expected.insert(expected.end(), row.values.begin(), row.values.end());
        EXPECT_NEAR(rows.counts.const_data_ptr<float>()[place], row.count, 1e-5 * (1.0 + row.count));
        EXPECT_EQ(rows.trained.const_data_ptr<bool>()[place], row.version > 0) << job_.features()[f].name;
        for (int64_t c = 0; c < dim; ++c) {
          g[place * dim + c] += job_.gradient(f, step, e, i, c, row.values[static_cast<size_t>(c)]);
        }
      }
    }
    expect_near(rows.values.detach().index_select(0, to_longs(places)), expected, tolerance(spec_of(f)), scales_[t],
                concat("rows of ", job_.features()[f].name, " step ", step));
  }

  /// The same step over the whole batch.
  void reference_step(int64_t step, int64_t examples) {
    std::vector<Touches> touched(job_.tables().size());
    for (size_t f = 0; f < job_.features().size(); ++f) {
      const RandomFeature& feature = job_.features()[f];
      for (int64_t e = 0; e < examples; ++e) {
        const auto ids = job_.ids(f, step, e);
        const std::vector<double> sum = bag(f, step, e);
        for (size_t i = 0; i < ids.size(); ++i) {
          auto& touch = touched[feature.table][ids[i]];
          touch.gradient.resize(sum.size());
          touch.occurrences += feature.counted ? 1 : 0;
          const auto& row = references_[feature.table].row(ids[i]);
          const double w = weight(f, step, e, i, ids.size());
          for (size_t c = 0; c < sum.size(); ++c) {
            const auto column = static_cast<int64_t>(c);
            touch.gradient[c] += feature.sequence ? job_.gradient(f, step, e, i, column, row.values[c])
                                                  : w * job_.gradient(f, step, e, 0, column, sum[c]);
          }
        }
      }
    }
    for (size_t t = 0; t < touched.size(); ++t) {
      references_[t].step(touched[t], step, 1.0 / static_cast<double>(step));
      for (const auto& [key, row] : references_[t].rows()) {
        for (const double value : row.values) scales_[t] = std::max(scales_[t], std::abs(value));
      }
    }
  }

  /// Every row of every table, asked for by every rank.
  void evaluate() {
    ids_.assign(job_.tables().size(), {});
    for (size_t t = 0; t < ids_.size(); ++t) {
      std::vector<uint64_t> keys;
      for (const auto& [key, row] : references_[t].rows()) keys.push_back(key);
      ids_[t].keys = to_longs(keys);
    }
    embedding_.route(ids_, LookupMode::kEvaluate, {}, routed_);
    const EmbeddedBatch batch = embedding_.lookup(routed_, kSteps + 1);
    for (size_t t = 0; t < ids_.size(); ++t) {
      std::vector<double> expected;
      for (const auto& [key, row] : references_[t].rows()) {
        expected.insert(expected.end(), row.values.begin(), row.values.end());
      }
      expect_near(batch.tables[t].values.index_select(0, routed_.tables[t].positions), expected,
                  tolerance(job_.tables()[t]), scales_[t], concat("evaluated ", job_.tables()[t].name));
    }
  }

  const RandomJob& job_;
  Communicator& comm_;
  ShardedEmbedding embedding_;
  std::vector<ReferenceEmbedding> references_;
  // Largest value that a row of each table ever had: a step of SGD may throw a row from far away to near zero, where it
  // keeps the rounding error of where it was.
  std::vector<double> scales_;
  std::vector<TableIds> ids_;
  std::vector<PooledFeature> pooled_;
  RoutedIds routed_;
};

class RandomTablesTest : public testing::RankTest {};

TEST_P(RandomTablesTest, FollowPlainLoopsForFourSteps) {
  for (int number = 0; number < kJobs; ++number) {
    const uint64_t seed = first_seed() + static_cast<uint64_t>(number);
    const RandomJob job(seed * 100 + static_cast<uint64_t>(world()), world());
    on_each_rank([&](Communicator& comm) {
      SCOPED_TRACE(concat("RONDO_TEST_SEED=", seed, ", world ", world(), "\n", job.describe()));
      OracleRun(job, comm).run();
    });
    if (HasFailure()) break;
  }
}

RONDO_INSTANTIATE_RANK_TEST(RandomTablesTest);

}  // namespace
}  // namespace rondo
