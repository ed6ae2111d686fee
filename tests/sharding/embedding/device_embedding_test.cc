// Rows on devices give the bits of rows in host memory: lookup, pooling, coalescing, updates, counts, checkpoints, over
// the doubles of CUDA, NCCL and the row kernels with host tensors standing in for device memory.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "sharding/base/random.h"
#include "sharding/embedding/sharded_embedding.h"
#include "tests/support/fake_row_kernels.h"
#include "tests/support/nccl_ranks.h"

namespace rondo {
namespace {

using testing::fake_row_kernels;
using ::testing::HasSubstr;
using testing::RankOfDouble;
using testing::run_double_ranks;
using testing::test_options;

constexpr uint64_t kSeed = 17;
constexpr int64_t kSteps = 4;

/// One table for each placement and way of keeping and sending rows, each with another optimizer.
std::vector<TableSpec> all_tables() {
  using Kind = RowOptimizerKind;
  const auto table = [](const char* name, int64_t dim, RowType type, Placement placement, Kind kind) {
    TableSpec spec{.name = name};
    spec.dim = dim;
    spec.row_type = type;
    spec.placement = placement;
    spec.buckets = 32;
    spec.optimizer = {.kind = kind, .learning_rate = 0.1, .weight_decay = 0.02};
    spec.count_decay = 0.1;
    return spec;
  };
  std::vector<TableSpec> tables{table("rows", 17, RowType::kFloat32, Placement::kRowWise, Kind::kAdam),
                                table("wide", 64, RowType::kFloat64, Placement::kTableWise, Kind::kRowWiseAdam),
                                table("copies", 5, RowType::kFloat32, Placement::kReplicated, Kind::kRowWiseAdagrad),
                                table("half", 7, RowType::kFloat16, Placement::kRowWise, Kind::kSgd),
                                table("brain", 33, RowType::kBFloat16, Placement::kRowWise, Kind::kAdagrad),
                                table("dense", 4, RowType::kFloat32, Placement::kRowWise, Kind::kSgd)};
  tables[0].optimizer.clip_norm = 0.5;
  tables[3].row_codec = tables[4].row_codec = WireCodec::kBFloat16;
  tables[3].gradient_codec = WireCodec::kFloat16;
  tables[5].key_space = KeySpace::kDense;
  tables[5].rows = 40;
  return tables;
}

at::Tensor longs(const std::vector<int64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), tensor.mutable_data_ptr<int64_t>());
  return tensor;
}

/// Ids of a step on one rank: sequences of every table and, of three of them, bags, some empty; a rank may have none.
struct Batch {
  std::vector<TableIds> ids;
  std::vector<PooledFeature> pooled;

  Batch(size_t tables, int64_t step, int rank) {
    const CounterRandom random(9, static_cast<uint64_t>(step), RandomPurpose::kTest);
    const auto draw = [&](uint64_t what, int64_t count) {
      std::vector<int64_t> keys;
      for (int64_t i = 0; i < count; ++i) {
        const double u = random.uniform(what * 100 + static_cast<uint64_t>(rank), static_cast<uint64_t>(i));
        keys.push_back(static_cast<int64_t>(40.0 * u * u));
      }
      return keys;
    };
    const int64_t count = (rank + step) % 3 == 2 ? 0 : 11 + 5 * rank;
    for (size_t t = 0; t < tables; ++t) ids.push_back({longs(draw(t, count)), /*counted=*/count / 2});
    for (size_t f = 0; f < 3; ++f) {
      PooledFeature feature{.name = std::to_string(f),
                            .table = static_cast<int64_t>(f),
                            .keys = longs(draw(50 + f, count)),
                            .offsets = longs({0, count / 3, count / 3, count}),
                            .pooling = static_cast<Pooling>(f)};
      if (feature.pooling == Pooling::kWeighted) feature.weights = at::full({count}, 0.3F);
      pooled.push_back(feature);
    }
  }
};

/// A gradient that depends on the value, so that an error of one step shows in the next.
at::Tensor gradient_of(const at::Tensor& values) { return values.detach().mul(0.7).add(0.1); }

/// The same steps on both; every number that comes back is compared.
void train_both(ShardedEmbedding& host, ShardedEmbedding& device, const Communicator& comm) {
  for (int64_t step = 1; step <= kSteps; ++step) {
    SCOPED_TRACE(step);
    const Batch batch(static_cast<size_t>(host.tables()), step, comm.rank());
    ShardedEmbedding* const both[] = {&host, &device};
    std::vector<EmbeddedBatch> rows;
    for (ShardedEmbedding* const one : both) {
      const RoutedIds routed = one->route(batch.ids, LookupMode::kTrain, batch.pooled);
      rows.push_back(one->lookup(routed, step));
      for (TableRows& table : rows.back().tables) table.values.mutable_grad() = gradient_of(table.values);
      for (at::Tensor& bags : rows.back().bags) bags.mutable_grad() = gradient_of(bags);
      one->learn(routed, rows.back(), step, 1.0 / static_cast<double>(step));
    }
    for (size_t t = 0; t < rows[0].tables.size(); ++t) {
      const TableRows &expected = rows[0].tables[t], &got = rows[1].tables[t];
      EXPECT_TRUE(at::equal(got.values, expected.values)) << "values of " << host.spec(static_cast<int64_t>(t)).name;
      EXPECT_TRUE(at::equal(got.counts, expected.counts)) << "counts of " << host.spec(static_cast<int64_t>(t)).name;
      EXPECT_TRUE(at::equal(got.trained, expected.trained)) << "marks of " << host.spec(static_cast<int64_t>(t)).name;
    }
    for (size_t f = 0; f < rows[0].bags.size(); ++f) EXPECT_TRUE(at::equal(rows[1].bags[f], rows[0].bags[f])) << f;
  }
}

void expect_equal_rows(const BucketRangeRows& got, const BucketRangeRows& expected) {
  EXPECT_EQ(got.offsets, expected.offsets);
  EXPECT_EQ(got.rows.keys, expected.rows.keys);
  EXPECT_TRUE(at::equal(got.rows.values, expected.rows.values));
  EXPECT_TRUE(at::equal(got.rows.state, expected.rows.state));
  EXPECT_EQ(got.rows.counts, expected.rows.counts);
  EXPECT_EQ(got.rows.versions, expected.rows.versions);
}

void expect_equal_tables(const ShardedEmbedding& got, const ShardedEmbedding& expected) {
  for (int64_t t = 0; t < expected.tables(); ++t) {
    SCOPED_TRACE(expected.spec(t).name);
    expect_equal_rows(got.export_buckets(t, got.buckets(t)), expected.export_buckets(t, expected.buckets(t)));
  }
}

class DeviceEmbeddingTest : public testing::RankTest {};

TEST_P(DeviceEmbeddingTest, GivesTheBitsOfRowsInHostMemory) {
  run_double_ranks(world(), test_options(), {}, [](const RankOfDouble& rank) {
    NcclCommunicator& comm = rank.comm;
    const RowLaunches kernels = fake_row_kernels(rank.machine, comm.rank());
    const EmbeddingDevice device{rank.cuda, kernels, at::kCPU};
    ShardedEmbedding host(all_tables(), kSeed, comm), there(all_tables(), kSeed, comm, {.device = &device});
    train_both(host, there, comm);
    expect_equal_tables(there, host);

    // A checkpoint of one is one of the other; an evaluation asks for keys that have no row, too.
    ShardedEmbedding restored(all_tables(), kSeed, comm, {.device = &device});
    for (int64_t t = 0; t < host.tables(); ++t) restored.import_buckets(t, host.export_buckets(t, host.buckets(t)));
    expect_equal_tables(restored, host);
    const Batch unseen(static_cast<size_t>(host.tables()), 77, comm.rank());
    const EmbeddedBatch expected = host.lookup(host.route(unseen.ids, LookupMode::kEvaluate), kSteps + 1);
    const EmbeddedBatch got = restored.lookup(restored.route(unseen.ids, LookupMode::kEvaluate), kSteps + 1);
    for (size_t t = 0; t < expected.tables.size(); ++t) {
      EXPECT_TRUE(at::equal(got.tables[t].values, expected.tables[t].values));
      EXPECT_TRUE(at::equal(got.tables[t].counts, expected.tables[t].counts));
    }
  });
}
RONDO_INSTANTIATE_RANK_TEST(DeviceEmbeddingTest);

/// Runs `body` on one rank with its device.
void on_one_device(const std::function<void(Communicator&, const EmbeddingDevice&)>& body) {
  run_double_ranks(1, test_options(), {}, [&](const RankOfDouble& rank) {
    const RowLaunches kernels = fake_row_kernels(rank.machine, 0);
    body(rank.comm, {rank.cuda, kernels, at::kCPU});
  });
}

TEST(DeviceRowsTest, AGradientThatIsNotFiniteEndsTheJobAndLeavesItsRow) {
  on_one_device([](Communicator& comm, const EmbeddingDevice& device) {
    ShardedEmbedding embedding({all_tables()[0]}, kSeed, comm, {.device = &device});
    const std::vector<TableIds> ids{{longs({5, 6, 7}), 3}};
    const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
    std::vector<TableRows> rows = embedding.forward(routed, 1);
    const int64_t place = routed.tables[0].positions.const_data_ptr<int64_t>()[1];
    const at::Tensor before = rows[0].values.detach().clone();
    rows[0].values.mutable_grad() = gradient_of(rows[0].values);
    rows[0].values.mutable_grad()[place][3] = std::numeric_limits<float>::quiet_NaN();
    try {
      embedding.backward(routed, rows, 1, 1.0);
      ADD_FAILURE() << "it went unnoticed";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("table \"rows\": the gradient of key 6 is not finite at step 1 on rank 0"));
    }
    const at::Tensor after = embedding.forward(routed, 2)[0].values.detach();
    EXPECT_TRUE(at::equal(after[place], before[place]));
    EXPECT_FALSE(at::equal(after, before)) << "the other rows have learned";
  });
}

TEST(DeviceRowsTest, WhatADeviceCannotDoYetIsRefused) {
  on_one_device([](Communicator& comm, const EmbeddingDevice& device) {
    const auto refusal = [&](const std::function<void(TableSpec&, ShardedEmbeddingOptions&)>& change) -> std::string {
      TableSpec spec = all_tables()[0];
      ShardedEmbeddingOptions options{.device = &device};
      change(spec, options);
      try {
        const ShardedEmbedding embedding({spec}, kSeed, comm, options);
      } catch (const ConfigError& error) {
        return error.what();
      }
      return "";
    };
    using Options = ShardedEmbeddingOptions;
    EXPECT_THAT(refusal([](TableSpec& spec, Options&) { spec.placement = Placement::kColumnWise; }),
                HasSubstr("table \"rows\": rows on a device are not for placement COLUMN_WISE yet"));
    EXPECT_THAT(refusal([](TableSpec& spec, Options&) { spec.way_home = WayHome::kSums; }), HasSubstr("way_home SUMS"));
    EXPECT_THAT(refusal([](TableSpec& spec, Options&) { spec.hot_keys = {3}; }), HasSubstr("hot rows"));
    EXPECT_THAT(refusal([](TableSpec&, Options& options) { options.clip_norm = 1.0; }), HasSubstr("clip_norm"));
  });
}

}  // namespace
}  // namespace rondo
