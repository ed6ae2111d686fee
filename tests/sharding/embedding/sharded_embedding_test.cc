#include "sharding/embedding/sharded_embedding.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "tests/support/rank_test.h"
#include "tests/support/reference_embedding.h"

namespace rondo {
namespace {

using testing::RankTest;
using testing::ReferenceEmbedding;

constexpr uint64_t kSeed = 17;
constexpr CounterRandom kRandom(3, 0, RandomPurpose::kTest);

/// Every key space x placement x optimizer x row type, with odd widths, few and many buckets.
std::vector<TableSpec> all_kinds() {
  std::vector<TableSpec> specs;
  const std::vector<int64_t> dims{1, 3, 16, 17, 20, 33}, buckets{1, 4, 64, 1024};
  for (const KeySpace space : {KeySpace::kHashed, KeySpace::kDense}) {
    for (const Placement placement :
         {Placement::kRowWise, Placement::kReplicated, Placement::kTableWise, Placement::kColumnWise}) {
      for (const auto kind : {RowOptimizerKind::kSgd, RowOptimizerKind::kRowWiseAdagrad, RowOptimizerKind::kAdam,
                              RowOptimizerKind::kAdagrad, RowOptimizerKind::kRowWiseAdam}) {
        for (const RowType type : {RowType::kFloat32, RowType::kFloat64}) {
          const auto i = specs.size();
          specs.push_back({.name = concat("space", static_cast<int>(space), "_place", static_cast<int>(placement),
                                          "_opt", static_cast<int>(kind), "_type", static_cast<int>(type)),
                           .dim = placement == Placement::kColumnWise ? 84 : dims[i % dims.size()],
                           .key_space = space,
                           .rows = space == KeySpace::kDense ? (i % 4 == 0 ? 2 : 101) : 0,
                           .buckets = buckets[i % buckets.size()],
                           .placement = placement,
                           .row_type = type,
                           .optimizer = {.kind = kind, .learning_rate = 0.1, .weight_decay = i % 2 == 0 ? 0.01 : 0.0},
                           .count_decay = 0.1});
        }
      }
    }
  }
  return specs;
}

/// Those of which a bucket is in one store.
std::vector<TableSpec> whole_rows() {
  std::vector<TableSpec> specs = all_kinds();
  std::erase_if(specs, [](const TableSpec& spec) { return spec.placement == Placement::kColumnWise; });
  return specs;
}

/// The ids of the global batch of one step: skewed, with duplicates; none at all in step 4.
std::vector<uint64_t> global_ids(const TableSpec& spec, int64_t step) {
  std::vector<uint64_t> ids;
  const uint64_t stream = hash_bytes(spec.name, static_cast<uint64_t>(step));
  const int64_t n = step == 4 ? 0 : 90 + step;
  for (int64_t i = 0; i < n; ++i) {
    const double u = kRandom.uniform(stream, static_cast<uint64_t>(i));
    const auto place = static_cast<uint64_t>(100.0 * u * u * u);  // 0 most often
    ids.push_back(spec.key_space == KeySpace::kDense ? place % static_cast<uint64_t>(spec.rows)
                                                     : mix64(place + 1) * (place == 3 ? 0 : 1));
  }
  return ids;
}

/// The share of one rank: uneven, and the last rank of four or more gets nothing.
struct Share {
  size_t first, last;
};
Share share_of(size_t n, int rank, int world) {
  const int busy = world >= 4 ? world - 1 : world;
  const auto cut = [&](int r) {
    return n * static_cast<size_t>(r) * static_cast<size_t>(r) / static_cast<size_t>(busy * busy);
  };
  return rank >= busy ? Share{n, n} : Share{cut(rank), cut(rank + 1)};
}

/// Gradient of the id at place i of the global batch; depends on the row so that a wrong one shows.
double gradient_at(int64_t step, size_t i, int64_t column, double value) {
  const double unit = kRandom.uniform(static_cast<uint64_t>(step) << 32 | i, static_cast<uint64_t>(column));
  return 2.0 * unit - 0.7 + 0.3 * value;
}

/// The first third of the global batch is counted.
bool counted(size_t i, size_t n) { return i < n / 3; }

TableIds share_ids(const std::vector<uint64_t>& ids, Share share) {
  TableIds result{.keys = at::empty({static_cast<int64_t>(share.last - share.first)}, at::kLong), .counted = 0};
  for (size_t i = share.first; i < share.last; ++i) result.counted += counted(i, ids.size()) ? 1 : 0;
  std::copy(ids.begin() + static_cast<int64_t>(share.first), ids.begin() + static_cast<int64_t>(share.last),
            reinterpret_cast<uint64_t*>(result.keys.mutable_data_ptr<int64_t>()));
  return result;
}

double tolerance(const TableSpec& spec) { return spec.row_type == RowType::kFloat64 ? 1e-9 : 1e-5; }

/// Largest difference over largest value.
void expect_near(const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  double difference = 0.0, largest = 1e-30;
  for (size_t i = 0; i < got.size(); ++i) {
    difference = std::max(difference, std::abs(got[i] - expected[i]));
    largest = std::max(largest, std::abs(expected[i]));
  }
  EXPECT_LE(difference / largest, tolerance) << what;
}

std::vector<double> as_doubles(const at::Tensor& values) {
  const at::Tensor wide = values.detach().to(at::kDouble).contiguous();
  return {wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel()};
}

/// Checks what came back for one table and sets the gradient of its leaf.
void check_and_differentiate(const TableSpec& spec, ReferenceEmbedding& reference, const TableIds& asked,
                             const RoutedTable& routed, TableRows& rows, int64_t step, size_t first) {
  const int64_t n = asked.keys.size(0);
  const std::vector<double> values = as_doubles(rows.values), counts = as_doubles(rows.counts);
  const auto* const keys = reinterpret_cast<const uint64_t*>(asked.keys.const_data_ptr<int64_t>());
  const int64_t* const positions = routed.positions.const_data_ptr<int64_t>();
  std::vector<double> expected(values.size()), expected_counts(counts.size());
  at::Tensor gradient = at::zeros({routed.distinct, spec.dim}, at::kDouble);
  auto* const g = gradient.mutable_data_ptr<double>();
  for (int64_t i = 0; i < n; ++i) {
    const auto& row = reference.row(keys[i]);
    std::copy(row.values.begin(), row.values.end(), expected.begin() + positions[i] * spec.dim);
    expected_counts[static_cast<size_t>(positions[i])] = row.count;
    EXPECT_EQ(rows.trained.const_data_ptr<bool>()[positions[i]], row.version > 0) << spec.name << " step " << step;
    for (int64_t c = 0; c < spec.dim; ++c) {
      g[positions[i] * spec.dim + c] +=
          gradient_at(step, first + static_cast<size_t>(i), c, row.values[static_cast<size_t>(c)]);
    }
  }
  expect_near(values, expected, tolerance(spec), concat("values of ", spec.name, " at step ", step));
  expect_near(counts, expected_counts, 1e-5, concat("counts of ", spec.name, " at step ", step));
  rows.values.mutable_grad() = gradient.to(rows.values.scalar_type());
}

using Touches = std::map<uint64_t, ReferenceEmbedding::Touch>;

Touches touches_of(ReferenceEmbedding& reference, const TableSpec& spec, int64_t step) {
  const std::vector<uint64_t> ids = global_ids(spec, step);
  Touches touched;
  for (size_t i = 0; i < ids.size(); ++i) {
    auto& touch = touched[ids[i]];
    const auto& row = reference.row(ids[i]);
    touch.gradient.resize(row.values.size());
    for (size_t c = 0; c < row.values.size(); ++c) {
      touch.gradient[c] += gradient_at(step, i, static_cast<int64_t>(c), row.values[c]);
    }
    touch.occurrences += counted(i, ids.size()) ? 1 : 0;
  }
  return touched;
}

double norm_square(const std::vector<double>& gradient) {
  double sum = 0.0;
  for (const double g : gradient) sum += g * g;
  return sum;
}

void scale_to(std::vector<double>& gradient, double norm, double limit) {
  if (limit == 0.0 || norm <= limit) return;
  for (double& g : gradient) g *= limit / norm;
}

/// One step of all references: rows clipped by the norm of their table, then all of them by `clip_norm`.
void reference_step(std::vector<ReferenceEmbedding>& references, const std::vector<TableSpec>& specs, int64_t step,
                    double factor, double clip_norm) {
  std::vector<Touches> touched;
  double total = 0.0;
  for (size_t t = 0; t < specs.size(); ++t) {
    touched.push_back(touches_of(references[t], specs[t], step));
    for (auto& [key, touch] : touched[t]) {
      scale_to(touch.gradient, std::sqrt(norm_square(touch.gradient)), specs[t].optimizer.clip_norm);
      total += norm_square(touch.gradient);
    }
  }
  for (size_t t = 0; t < specs.size(); ++t) {
    for (auto& [key, touch] : touched[t]) scale_to(touch.gradient, std::sqrt(total), clip_norm);
    references[t].step(touched[t], step, factor);
  }
}

/// Trains the steps [first, last] and checks each against references that made all steps from 1.
std::vector<ReferenceEmbedding> train(Communicator& comm, ShardedEmbedding& embedding, int64_t first, int64_t last,
                                      double clip_norm = 0.0) {
  std::vector<ReferenceEmbedding> references;
  std::vector<TableSpec> specs;
  for (int64_t t = 0; t < embedding.tables(); ++t) specs.push_back(embedding.spec(t));
  for (const TableSpec& spec : specs) references.emplace_back(spec, kSeed);
  for (int64_t step = 1; step <= last; ++step) {
    const double factor = 1.0 / static_cast<double>(step);
    if (step >= first) {
      std::vector<TableIds> ids;
      std::vector<size_t> starts;
      for (int64_t t = 0; t < embedding.tables(); ++t) {
        const auto global = global_ids(embedding.spec(t), step);
        const Share share = share_of(global.size(), comm.rank(), comm.size());
        ids.push_back(share_ids(global, share));
        starts.push_back(share.first);
      }
      const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
      std::vector<TableRows> rows = embedding.forward(routed, step);
      for (size_t t = 0; t < rows.size(); ++t) {
        check_and_differentiate(embedding.spec(static_cast<int64_t>(t)), references[t], ids[t], routed.tables[t],
                                rows[t], step, starts[t]);
      }
      embedding.backward(routed, rows, step, factor);
    }
    reference_step(references, specs, step, factor, clip_norm);
  }
  return references;
}

/// Every row of the reference, and one key that no one has seen, looked up for evaluation by every rank.
void check_evaluation(ShardedEmbedding& embedding, std::vector<ReferenceEmbedding>& references, int64_t step) {
  std::vector<TableIds> ids;
  std::vector<int64_t> before;
  for (int64_t t = 0; t < embedding.tables(); ++t) {
    std::vector<uint64_t> keys;
    for (const auto& [key, row] : references[static_cast<size_t>(t)].rows()) keys.push_back(key);
    if (embedding.spec(t).key_space == KeySpace::kHashed) keys.push_back(0xabcdef);
    ids.push_back(share_ids(keys, {0, keys.size()}));
    before.push_back(embedding.store(t).rows());
  }
  const RoutedIds routed = embedding.route(ids, LookupMode::kEvaluate);
  const std::vector<TableRows> rows = embedding.forward(routed, step);
  for (int64_t t = 0; t < embedding.tables(); ++t) {
    const TableSpec& spec = embedding.spec(t);
    const auto& got = rows[static_cast<size_t>(t)];
    const int64_t* const positions = routed.tables[static_cast<size_t>(t)].positions.const_data_ptr<int64_t>();
    std::vector<double> expected(static_cast<size_t>(got.values.numel()));
    int64_t i = 0;
    for (const auto& [key, row] : references[static_cast<size_t>(t)].rows()) {
      std::copy(row.values.begin(), row.values.end(), expected.begin() + positions[i++] * spec.dim);
    }
    expect_near(as_doubles(got.values), expected, tolerance(spec), "evaluated " + spec.name);
    EXPECT_FALSE(got.values.requires_grad());
    EXPECT_EQ(embedding.store(t).rows(), before[static_cast<size_t>(t)]) << "evaluation made rows in " << spec.name;
    if (spec.key_space != KeySpace::kHashed) continue;
    EXPECT_FALSE(got.trained.const_data_ptr<bool>()[positions[i]]);
    EXPECT_EQ(got.counts.const_data_ptr<float>()[positions[i]], 0.0F);
  }
}

class ShardedEmbeddingTest : public RankTest {};

TEST_P(ShardedEmbeddingTest, FollowsTheReferenceForEveryKindOfTable) {
  on_each_rank([](Communicator& comm) {
    ShardedEmbedding embedding(all_kinds(), kSeed, comm);
    auto references = train(comm, embedding, 1, 8);
    check_evaluation(embedding, references, 9);
    for (int64_t t = 0; t < embedding.tables(); ++t) {
      const auto expected = static_cast<int64_t>(references[static_cast<size_t>(t)].rows().size());
      const int64_t mine = embedding.store(t).rows();
      const bool everywhere = embedding.spec(t).placement == Placement::kReplicated;
      const bool columns = embedding.spec(t).placement == Placement::kColumnWise;
      EXPECT_EQ(everywhere || columns ? mine : sum_of(comm, mine, "rows"), expected) << embedding.spec(t).name;
    }
  });
}

TEST_P(ShardedEmbeddingTest, ReplicasStayBitEqual) {
  on_each_rank([](Communicator& comm) {
    ShardedEmbedding embedding(all_kinds(), kSeed, comm);
    train(comm, embedding, 1, 5);
    for (int64_t t = 0; t < embedding.tables(); ++t) {
      if (embedding.spec(t).placement != Placement::kReplicated) continue;
      uint64_t digest = 0;
      for (int64_t bucket = 0; bucket < embedding.spec(t).buckets; ++bucket) {
        const BucketRows rows = embedding.store(t).export_bucket(bucket);
        const auto bytes = [](const at::Tensor& tensor) {
          return std::string_view(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
        };
        digest = hash_bytes(bytes(rows.values), hash_bytes(bytes(rows.state), digest + rows.keys.size()));
      }
      const auto first = broadcast_value(comm, static_cast<int64_t>(digest), "digest");
      EXPECT_EQ(static_cast<int64_t>(digest), first) << embedding.spec(t).name;
    }
  });
}

TEST_P(ShardedEmbeddingTest, ClipsRowsThenAllOfThem) {
  for (const RowType type : {RowType::kFloat32, RowType::kFloat64}) {  // apart: one norm would carry fp32's error over
    std::vector<TableSpec> specs = all_kinds();
    std::erase_if(specs, [&](const TableSpec& spec) { return spec.row_type != type; });
    for (size_t i = 0; i < specs.size(); ++i) specs[i].optimizer.clip_norm = i % 3 == 0 ? 0.0 : 1.5;
    on_each_rank([&](Communicator& comm) {
      constexpr double kClipNorm = 20.0;  // all rows together are about 50 long
      ShardedEmbedding embedding(specs, kSeed, comm, {.clip_norm = kClipNorm});
      auto references = train(comm, embedding, 1, 5, kClipNorm);
      check_evaluation(embedding, references, 6);
    });
  }
}

TEST_P(ShardedEmbeddingTest, AGradientThatIsNotFiniteIsRefusedByEveryRank) {
  on_each_rank([](Communicator& comm) {
    ShardedEmbedding embedding({{.name = "item", .dim = 3}, {.name = "brand", .dim = 2}}, kSeed, comm,
                               {.clip_norm = 1.0});
    const std::vector<TableIds> ids{share_ids({5}, {0, 1}), share_ids({8}, {0, 1})};
    const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
    std::vector<TableRows> rows = embedding.forward(routed, 1);
    rows[0].values.mutable_grad() = at::empty({1, 3}).fill_(1.0);
    rows[1].values.mutable_grad() = at::empty({1, 2}).fill_(1.0);
    if (comm.rank() == comm.size() - 1) rows[1].values.mutable_grad().mutable_data_ptr<float>()[1] = -INFINITY;
    const bool owner = embedding.owner(1, 8) == comm.rank();
    try {
      embedding.backward(routed, rows, 7, 1.0);
      ADD_FAILURE() << "taken by rank " << comm.rank();
    } catch (const DataError& error) {
      const std::string message = error.what(), expected = concat("at step 7", owner ? " on rank " : "; rank ");
      EXPECT_NE(message.find(concat(expected, comm.rank())), std::string::npos) << message;
      EXPECT_EQ(message.find("table \"brand\": the gradient of key 8 is -inf in column 1 ") == 0, owner) << message;
    }
  });
}

TEST_P(ShardedEmbeddingTest, UndefinedGradientIsZero) {
  on_each_rank([](Communicator& comm) {
    ShardedEmbedding embedding({{.name = "item", .dim = 5, .buckets = 8}}, kSeed, comm);
    const std::vector<uint64_t> keys{7, 8, 9, 7};
    const std::vector<TableIds> ids{share_ids(keys, {0, keys.size()})};
    const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
    const auto rows = embedding.forward(routed, 1);
    EXPECT_TRUE(rows[0].values.requires_grad() && rows[0].values.is_leaf());
    embedding.backward(routed, rows, 1, 1.0);
    const auto after = embedding.forward(embedding.route(ids, LookupMode::kEvaluate), 2);
    EXPECT_EQ(as_doubles(after[0].values), as_doubles(rows[0].values));
    EXPECT_TRUE(after[0].trained.const_data_ptr<bool>()[0]);
  });
}

TEST_P(ShardedEmbeddingTest, AssignedTablesTakeNoGradient) {
  on_each_rank([](Communicator& comm) {
    const TableSpec vectors{
        .name = "text", .dim = 4, .buckets = 16, .optimizer = {.kind = RowOptimizerKind::kNone}, .initial_scale = 0.0};
    ShardedEmbedding embedding({vectors, {.name = "item", .dim = 2, .buckets = 16}}, kSeed, comm);
    const std::vector<uint64_t> keys{1, 2, 3, 4, 5};
    for (const uint64_t key : keys) {
      if (embedding.owner(0, key) != comm.rank()) continue;
      int64_t slot = -1;
      embedding.store(0).find_or_create({&key, 1}, {&slot, 1});
      embedding.store(0).assign({&slot, 1}, at::empty({1, 4}).fill_(static_cast<double>(key)), 1);
    }
    const std::vector<TableIds> ids{share_ids(keys, {0, keys.size()}), share_ids(keys, {0, keys.size()})};
    const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
    const auto rows = embedding.forward(routed, 1);
    EXPECT_FALSE(rows[0].values.requires_grad());
    embedding.backward(routed, rows, 1, 1.0);
    const auto after = embedding.forward(embedding.route(ids, LookupMode::kEvaluate), 2);
    for (size_t i = 0; i < keys.size(); ++i) {
      const int64_t row = routed.tables[0].positions.const_data_ptr<int64_t>()[i];
      EXPECT_EQ(after[0].values.const_data_ptr<float>()[row * 4 + 3], static_cast<float>(keys[i]));
      EXPECT_TRUE(after[0].trained.const_data_ptr<bool>()[row]);
    }
  });
}

TEST_P(ShardedEmbeddingTest, CountsTheBytesItSends) {
  on_each_rank([](Communicator& comm) {
    ShardedEmbedding embedding({{.name = "item", .dim = 8}}, kSeed, comm);
    std::vector<uint64_t> keys(100);
    for (size_t i = 0; i < keys.size(); ++i) keys[i] = i;
    const std::vector<TableIds> ids{share_ids(keys, {0, keys.size()})};
    const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
    const auto rows = embedding.forward(routed, 1);
    embedding.backward(routed, rows, 1, 1.0);
    const RoutedPart& table = routed.tables[0].parts[0];
    int64_t asked = 0, answered = 0;
    for (int r = 0; r < comm.size(); ++r) {
      if (r == comm.rank()) continue;
      asked += table.send_rows[static_cast<size_t>(r)];
      answered += table.receive_rows[static_cast<size_t>(r)];
    }
    const auto traffic = embedding.traffic();
    EXPECT_EQ(traffic.row_bytes, answered * (8 + 1) * 4);
    EXPECT_EQ(traffic.gradient_bytes, asked * 8 * 4);
    EXPECT_GE(traffic.id_bytes, asked * 12);
    EXPECT_LE(traffic.id_bytes, asked * 12 + comm.size() * 4);
  });
}

RONDO_INSTANTIATE_RANK_TEST(ShardedEmbeddingTest);

/// The buckets that a world saves are all that another world needs to go on.
TEST(ShardedEmbeddingBuckets, OfTwoRanksGoOnAtThree) {
  std::vector<std::vector<BucketRows>> saved;  // [table][bucket]
  for (const TableSpec& spec : whole_rows()) saved.emplace_back(static_cast<size_t>(spec.buckets));
  run_ranks(2, testing::test_options(), [&](Communicator& comm) {
    ShardedEmbedding embedding(whole_rows(), kSeed, comm);
    train(comm, embedding, 1, 5);
    for (int64_t t = 0; t < embedding.tables(); ++t) {
      const bool everywhere = embedding.spec(t).placement == Placement::kReplicated;
      const BucketRange mine = everywhere ? buckets_of_rank(embedding.spec(t).buckets, comm.rank(), comm.size())
                                          : embedding.store(t).range();
      for (int64_t bucket = mine.first; bucket < mine.last; ++bucket) {
        saved[static_cast<size_t>(t)][static_cast<size_t>(bucket)] = embedding.store(t).export_bucket(bucket);
      }
    }
  });
  run_ranks(3, testing::test_options(), [&](Communicator& comm) {
    ShardedEmbedding embedding(whole_rows(), kSeed + 1, comm);  // no value of a saved row comes from the seed
    for (int64_t t = 0; t < embedding.tables(); ++t) {
      const BucketRange range = embedding.store(t).range();
      for (int64_t bucket = range.first; bucket < range.last; ++bucket) {
        embedding.store(t).import_bucket(bucket, saved[static_cast<size_t>(t)][static_cast<size_t>(bucket)]);
      }
    }
    auto references = train(comm, embedding, 6, 5);
    check_evaluation(embedding, references, 6);
  });
  run_ranks(3, testing::test_options(), [&](Communicator& comm) {
    ShardedEmbedding embedding(whole_rows(), kSeed, comm);
    for (int64_t t = 0; t < embedding.tables(); ++t) {
      const BucketRange range = embedding.store(t).range();
      for (int64_t bucket = range.first; bucket < range.last; ++bucket) {
        embedding.store(t).import_bucket(bucket, saved[static_cast<size_t>(t)][static_cast<size_t>(bucket)]);
      }
    }
    auto references = train(comm, embedding, 6, 8);
    check_evaluation(embedding, references, 9);
  });
}

TEST(ShardedEmbeddingErrors, NamesTheFeatureOfAnUnknownTable) {
  run_ranks(1, testing::test_options(), [](Communicator& comm) {
    ShardedEmbedding embedding({{.name = "item", .dim = 2}, {.name = "brand", .dim = 2}}, kSeed, comm);
    const std::vector<TableIds> ids{share_ids({}, {0, 0}), share_ids({}, {0, 0})};
    const PooledFeature feature{
        .name = "made by", .table = 2, .keys = ids[0].keys, .offsets = at::zeros({1}, at::kLong)};
    try {
      embedding.route(ids, LookupMode::kTrain, {&feature, 1});
      ADD_FAILURE() << "taken";
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
      EXPECT_STREQ(error.what(), "feature \"made by\": table 2 is unknown; tables 0 to 1 are \"item\", \"brand\"");
    }
  });
}

TEST(ShardedEmbeddingErrors, NamesTheKeyOutsideADenseTable) {
  run_ranks(1, testing::test_options(), [](Communicator& comm) {
    ShardedEmbedding embedding({{.name = "brand", .dim = 2, .key_space = KeySpace::kDense, .rows = 10, .buckets = 4}},
                               kSeed, comm);
    for (const uint64_t key : {uint64_t{10}, ~uint64_t{0}}) {
      std::vector<TableIds> ids{share_ids({3, key}, {0, 2})};
      ids[0].features = {{"sold by", 0}, {"made by", 1}};
      try {
        embedding.route(ids, LookupMode::kEvaluate);
        ADD_FAILURE() << "key " << key << " was taken";
      } catch (const DataError& error) {
        const std::string message = error.what();
        EXPECT_EQ(error.exit_code(), ExitCode::kBadData);
        EXPECT_NE(
            message.find(concat("table \"brand\", feature \"made by\": key ", static_cast<int64_t>(key), " on rank 0")),
            std::string::npos)
            << message;
        EXPECT_NE(message.find("[0, 10)"), std::string::npos) << message;
      }
    }
  });
}

}  // namespace
}  // namespace rondo
