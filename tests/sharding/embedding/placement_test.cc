// What placements and ways home cost: bytes on the wire against their formulas, and how even the work is over ranks.
#include <ATen/ops/empty.h>
#include <ATen/ops/ones_like.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <numeric>
#include <set>

#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "sharding/embedding/sharded_embedding.h"
#include "sharding/plan/cost_model.h"
#include "tests/sharding/plan/plan_fixture.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::RankTest;

constexpr uint64_t kRows = 100'000;
constexpr int64_t kBatch = 512, kPerBag = 20;  // of one rank
constexpr int64_t kDim = 84;                   // every world divides it
constexpr CounterRandom kRandom(5, 0, RandomPurpose::kTest);

/// Ids of a rank by a power law (alpha 1.05), the most popular first.
std::vector<uint64_t> ranked_ids(int rank) {
  std::vector<uint64_t> ids(static_cast<size_t>(kBatch * kPerBag));
  for (size_t i = 0; i < ids.size(); ++i) {
    const double u = kRandom.uniform(static_cast<uint64_t>(rank), i), power = 1.0 - 1.05;
    const double x = std::pow(1.0 + u * (std::pow(kRows + 1.0, power) - 1.0), 1.0 / power);
    ids[i] = std::min(kRows - 1, static_cast<uint64_t>(x) - 1);
  }
  return ids;
}

at::Tensor to_tensor(const std::vector<uint64_t>& values) {
  at::Tensor tensor = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), reinterpret_cast<uint64_t*>(tensor.mutable_data_ptr<int64_t>()));
  return tensor;
}

PooledFeature feature_of(int rank) {
  std::vector<uint64_t> offsets(static_cast<size_t>(kBatch + 1));
  for (size_t b = 0; b < offsets.size(); ++b) offsets[b] = b * static_cast<uint64_t>(kPerBag);
  return {.name = "history", .table = 0, .keys = to_tensor(ranked_ids(rank)), .offsets = to_tensor(offsets)};
}

TableSpec spec_of(Placement placement, WayHome way_home = WayHome::kRows) {
  TableSpec spec{.name = "item", .dim = kDim, .key_space = KeySpace::kDense, .rows = kRows, .placement = placement};
  spec.owner = 0;
  spec.way_home = way_home;
  return spec;
}

RoutedIds route(ShardedEmbedding& embedding, int rank) {
  const TableIds none{at::empty({0}, at::kLong), 0};
  const PooledFeature feature = feature_of(rank);
  return embedding.route({&none, 1}, LookupMode::kTrain, {&feature, 1});
}

/// Numbers of all ranks together, in doubles.
struct Sizes {
  explicit Sizes(int ranks) : world(ranks) {
    std::set<uint64_t> all;
    for (int r = 0; r < ranks; ++r) {
      const auto ids = ranked_ids(r);
      const std::set<uint64_t> mine(ids.begin(), ids.end());
      all.insert(mine.begin(), mine.end());
      distinct += static_cast<double>(mine.size());
    }
    updated = static_cast<double>(all.size());
    entries = static_cast<double>(kBatch * kPerBag) * ranks;
  }

  double world;
  double distinct = 0;  // sum over ranks
  double updated = 0;   // distinct of the global batch
  double entries = 0;
};

using Traffic = ShardedEmbedding::Traffic;

/// What the planner says that all ranks send in one step (cost_model.h).
std::map<std::string, double> formula(const TableSpec& spec, const Sizes& n) {
  TableRequest table;
  table.spec = spec;
  table.statistics = {.ids_per_example = kPerBag, .bags_per_example = 1, .skew = 1.05};
  table.statistics.measured = {{n.entries / n.world, n.distinct / n.world}};
  if (n.world > 1) table.statistics.measured.push_back({n.entries, n.updated});
  const TableChoice choice{.placement = spec.placement,
                           .way_home = spec.way_home,
                           .column_parts = static_cast<int64_t>(n.world),
                           .hot_rows = static_cast<int64_t>(spec.hot_keys.size())};
  const HardwareProfile profile = testing::round_profile();
  const TableCost cost = cost_of(table, choice, {profile, static_cast<int>(n.world), kBatch});
  std::map<std::string, double> bytes;
  for (uint8_t kind = 0; kind < kWireKinds; ++kind) {
    bytes[to_text(static_cast<WireKind>(kind))] =
        n.world * cost.every.wires[kind].sent + static_cast<double>(cost.owners) * cost.owner.wires[kind].sent;
  }
  return bytes;
}

std::map<std::string, int64_t> by_kind(const Traffic& traffic) {
  return {{"ids", traffic.id_bytes},
          {"bag_entries", traffic.bag_entry_bytes},
          {"rows", traffic.row_bytes},
          {"bags", traffic.bag_bytes},
          {"gradients", traffic.gradient_bytes},
          {"bag_gradients", traffic.bag_gradient_bytes},
          {"squares", traffic.square_bytes}};
}

class PlacementTest : public RankTest {};

TEST_P(PlacementTest, BytesOfEachKindFollowTheFormulaOfTheWay) {
  std::vector<TableSpec> specs{spec_of(Placement::kReplicated)};
  for (const WayHome way : {WayHome::kRows, WayHome::kSums}) {
    for (const Placement placement : {Placement::kRowWise, Placement::kTableWise, Placement::kColumnWise}) {
      specs.push_back(spec_of(placement, way));
    }
  }
  specs.push_back(spec_of(Placement::kRowWise, WayHome::kSums));
  for (uint64_t key = 0; key < 256; ++key) specs.back().hot_keys.push_back(key);
  const Sizes sizes(world());
  for (const TableSpec& spec : specs) {
    SCOPED_TRACE(describe(spec));
    on_each_rank([&](Communicator& comm) {
      ShardedEmbedding embedding({spec}, 1, comm);
      const RoutedIds routed = route(embedding, comm.rank());
      EmbeddedBatch batch = embedding.lookup(routed, 1);
      batch.bags[0].mutable_grad() = at::ones_like(batch.bags[0]);
      embedding.learn(routed, batch, 1, 1.0);
      const std::map<std::string, double> expected = formula(spec, sizes);
      for (const auto& [kind, mine] : by_kind(embedding.traffic())) {
        const auto sent = static_cast<double>(sum_of(comm, mine, "bytes"));
        EXPECT_NEAR(sent, expected.at(kind), 0.05 * sent) << kind;
        if (comm.rank() == 0 && sent > 0) {
          std::printf("%-11s %-5s %3zu hot, world %d: %-13s %9.0f bytes, by the formula %9.0f\n",
                      to_word(spec.placement), spec.way_home == WayHome::kSums ? "sums" : "rows", spec.hot_keys.size(),
                      comm.size(), kind.c_str(), sent, expected.at(kind));
        }
      }
    });
  }
}

/// Largest over mean.
double imbalance(Communicator& comm, int64_t mine) {
  const auto mean = static_cast<double>(sum_of(comm, mine, "sum of a load")) / comm.size();
  return static_cast<double>(largest_of(comm, mine, "largest of a load")) / mean;
}

TEST_P(PlacementTest, PopularIdsInOrderSpreadEvenly) {
  for (const KeySpace space : {KeySpace::kDense, KeySpace::kHashed}) {
    for (const WayHome way : {WayHome::kRows, WayHome::kSums}) {
      TableSpec spec = spec_of(Placement::kRowWise, way);
      spec.key_space = space;
      if (way == WayHome::kSums) {  // entries travel as they are: the most popular rows stay with every rank
        for (uint64_t key = 0; key < 256; ++key) spec.hot_keys.push_back(key);
      }
      SCOPED_TRACE(describe(spec));
      on_each_rank([&](Communicator& comm) {
        ShardedEmbedding embedding({spec}, 1, comm);
        const RoutedIds routed = route(embedding, comm.rank());
        const RoutedPart& part = routed.tables[0].parts[0];
        EXPECT_LT(imbalance(comm, embedding.rows(0)), 1.1) << "rows held";
        EXPECT_LT(imbalance(comm, static_cast<int64_t>(part.slots.size())), 1.1) << "rows asked for";
        const EmbeddedBatch batch = embedding.lookup(routed, 1);
        const auto traffic = embedding.traffic();
        if (comm.size() > 1) {
          EXPECT_LT(imbalance(comm, traffic.row_bytes + traffic.bag_bytes), 1.1) << "bytes answered";
        }
        if (way == WayHome::kRows) return;
        int64_t entries = 0;
        for (const BagList& bags : part.asked_bags)
          entries += bags.defined() ? bags.offsets.const_data_ptr<int64_t>()[bags.bags()] : 0;
        EXPECT_LT(imbalance(comm, entries), 1.1) << "entries summed";
      });
    }
  }
}

TEST_P(PlacementTest, RanksWithDifferentTablesAreRefusedByAll) {
  if (world() == 1) return;
  const auto refusal = [&](Communicator& comm, const std::vector<TableSpec>& specs, uint64_t seed) -> std::string {
    try {
      ShardedEmbedding(specs, seed, comm);
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
      return error.what();
    }
    ADD_FAILURE() << "taken";
    return "";
  };
  on_each_rank([&](Communicator& comm) {
    const bool last = comm.rank() == comm.size() - 1;
    std::vector<TableSpec> specs{{.name = "item", .dim = 4}, {.name = "brand", .dim = 4}};
    if (last) specs[1].optimizer.learning_rate = 0.25;
    const std::string message = refusal(comm, specs, 1);
    EXPECT_NE(message.find(concat("rank ", comm.size() - 1, " differs from rank 0 in table 1")), std::string::npos);
    EXPECT_NE(message.find(last ? "which says this, has table \"brand\": dim 4" : "learning_rate 0.05"),
              std::string::npos)
        << message;
    EXPECT_NE(refusal(comm, {{.name = "item", .dim = 4}}, last ? 2 : 1).find("in the seed"), std::string::npos);
  });
}

RONDO_INSTANTIATE_RANK_TEST(PlacementTest);

}  // namespace
}  // namespace rondo
