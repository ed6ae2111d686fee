#include "sharding/plan/cost_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/base/error.h"
#include "tests/sharding/plan/plan_fixture.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using testing::round_profile;
using testing::table_of;

const HardwareProfile kProfile = round_profile();

double sent(const TableCost& cost, WireKind kind) { return cost.every.wires[kind].sent; }

/// A table in which every id is another row: distinct == ids.
TableRequest distinct_table(int64_t dim) {
  TableRequest table = table_of("item", 1'000'000, dim);
  table.statistics.measured = {{1, 1}, {1e9, 1e9}};
  return table;
}

TEST(CostModel, WireOfTheBenchmarkOfThePeers) {
  // 8 tables x 1 M x 64, 20 ids an example, 1,024 examples a rank, 2 ranks: 2.1 MB of sums each way against 8.7 MB of
  // rows (and a count of 4 bytes with each row), as counted there.
  TableRequest table = table_of("item", 1'000'000, 64);
  table.statistics = {.ids_per_example = 20, .bags_per_example = 1, .skew = 1.05};
  const CostSetting setting{kProfile, 2, 1024};
  const TableCost rows = cost_of(table, {.placement = Placement::kRowWise}, setting);
  EXPECT_NEAR(8 * sent(rows, kGradients), 8.74e6, 0.15e6);
  EXPECT_NEAR(8 * sent(rows, kRows), 8.74e6 * 65 / 64, 0.15e6);
  const TableCost sums = cost_of(table, {.placement = Placement::kRowWise, .way_home = WayHome::kSums}, setting);
  EXPECT_NEAR(8 * sent(sums, kSums), 2.097e6, 0.001e6);
  EXPECT_EQ(sent(sums, kSums), sent(sums, kSumGradients));
  EXPECT_EQ(sent(sums, kRows), 0);
}

TEST(CostModel, WireOfEachPlacementByHand) {
  // 100 examples a rank, 2 bags and 20 ids each: n = d = 2000 ids, b = 200 bags, V = 4 * 32 = 128 bytes, 4 ranks.
  const TableRequest table = distinct_table(32);
  const CostSetting setting{kProfile, 4, 100};
  const auto cost = [&](TableChoice choice) { return cost_of(table, choice, setting); };

  const TableCost replicated = cost({.placement = Placement::kReplicated});
  EXPECT_EQ(sent(replicated, kIds), 12 * 2000 * 3);
  EXPECT_EQ(sent(replicated, kRows), 0);
  EXPECT_EQ(sent(replicated, kGradients), 128 * 2000 * 3);

  const TableCost rows = cost({.placement = Placement::kRowWise});
  EXPECT_EQ(sent(rows, kIds), 12 * 1500);
  EXPECT_EQ(sent(rows, kRows), 132 * 1500);
  EXPECT_EQ(sent(rows, kGradients), 128 * 1500);

  const TableCost table_wise = cost({.placement = Placement::kTableWise});
  EXPECT_EQ(table_wise.owners, 1);
  EXPECT_EQ(sent(table_wise, kIds), 12 * 1500);
  EXPECT_EQ(table_wise.owner.wires[kIds].received, 12 * 6000);
  EXPECT_EQ(table_wise.owner.wires[kRows].sent, 132 * 6000);
  EXPECT_EQ(table_wise.every.wires[kRows].received, 132 * 1500);
  EXPECT_EQ(table_wise.owner.wires[kGradients].received, 128 * 6000);

  const TableCost columns = cost({.placement = Placement::kColumnWise, .column_parts = 2});
  EXPECT_EQ(columns.owners, 2);
  EXPECT_EQ(sent(columns, kIds), 2 * 12 * 1500) << "ids go to both owners";
  EXPECT_EQ(columns.owner.wires[kRows].sent, (64 + 2) * 6000) << "counts come with the first columns";
  EXPECT_EQ(columns.every.wires[kRows].received, 2 * (64 + 2) * 1500);
  EXPECT_EQ(columns.owner.wires[kSquares].sent, 4 * 8000);
  EXPECT_EQ(sent(columns, kGradients), 128 * 1500);

  const TableCost owned_sums = cost({.placement = Placement::kTableWise, .way_home = WayHome::kSums});
  EXPECT_EQ(owned_sums.owner.wires[kSums].sent, 128 * 200 * 3);
  EXPECT_EQ(owned_sums.every.wires[kSums].received, 128 * 150);
  EXPECT_EQ(sent(owned_sums, kIds), 0);
  EXPECT_EQ(sent(owned_sums, kBagEntries), 8 * 1500 + 4 * 0.75 * 202);
  EXPECT_EQ(owned_sums.owner.wires[kBagEntries].received, 3 * (8 * 2000 + 4 * 202));
}

TEST(CostModel, RowsAndCodecsOf16BitsByHand) {
  TableRequest table = distinct_table(32);  // 1500 ids leave a rank, as above
  const CostSetting setting{kProfile, 4, 100};
  table.spec.row_type = RowType::kBFloat16;
  const TableCost rows = cost_of(table, {.placement = Placement::kRowWise}, setting);
  EXPECT_EQ(rows.every.row_bytes, 64 * 250'000);
  EXPECT_EQ(rows.every.state_bytes, 4 * 250'000);  // fp32
  EXPECT_EQ(sent(rows, kRows), (64 + 4) * 1500);
  EXPECT_EQ(sent(rows, kGradients), 128 * 1500);
  table.spec.row_type = RowType::kFloat32;
  table.spec.row_codec = table.spec.gradient_codec = WireCodec::kFloat16;
  const TableCost coded = cost_of(table, {.placement = Placement::kRowWise}, setting);
  EXPECT_EQ(coded.every.row_bytes, 128 * 250'000);
  EXPECT_EQ(sent(coded, kRows), (64 + 4) * 1500);
  EXPECT_EQ(sent(coded, kGradients), 64 * 1500);
}

TEST(CostModel, WhatIsSentIsWhatIsReceived) {
  const TableRequest table = table_of("item", 5000, 64);
  for (const int world : {1, 2, 3, 4, 7}) {
    for (const TableChoice& choice :
         std::vector<TableChoice>{{.placement = Placement::kReplicated},
                                  {.placement = Placement::kTableWise},
                                  {.placement = Placement::kTableWise, .way_home = WayHome::kSums},
                                  {.placement = Placement::kColumnWise, .column_parts = 1},
                                  {.placement = Placement::kColumnWise, .way_home = WayHome::kSums}}) {
      const TableCost cost = cost_of(table, choice, {kProfile, world, 64});
      for (size_t w = 0; w < kWireKinds; ++w) {
        const Wire &every = cost.every.wires[w], &owner = cost.owner.wires[w];
        EXPECT_NEAR(world * every.sent + static_cast<double>(cost.owners) * owner.sent,
                    world * every.received + static_cast<double>(cost.owners) * owner.received, 1e-6)
            << to_text(choice) << ", wire " << w << ", world " << world;
        if (world == 1) {
          EXPECT_EQ(every.sent + owner.sent, 0) << to_text(choice);
        }
      }
    }
  }
}

TEST(CostModel, MemoryByHand) {
  TableRequest table = table_of("item", 1000, 32);
  table.spec.buckets = 8;
  table.spec.key_space = KeySpace::kDense;
  const CostSetting setting{kProfile, 4, 1};
  // Record: 128 values, 4 of row-wise Adagrad, 4 count, 8 version (the sum is a multiple of 8), a bit.
  const Load whole = cost_of(table, {.placement = Placement::kReplicated}, setting).every;
  EXPECT_EQ(whole.row_bytes, 128'000);
  EXPECT_EQ(whole.state_bytes, 4'000);
  EXPECT_EQ(whole.index_bytes, 12'125);
  EXPECT_EQ(cost_of(table, {.placement = Placement::kRowWise}, setting).every.row_bytes, 32'000);
  table.spec.buckets = 2;
  EXPECT_EQ(cost_of(table, {.placement = Placement::kRowWise}, setting).every.row_bytes, 64'000)
      << "two buckets on four ranks: two ranks have half each";
  table.spec.optimizer.kind = RowOptimizerKind::kAdam;
  EXPECT_EQ(cost_of(table, {.placement = Placement::kReplicated}, setting).every.state_bytes, 256'000);
  const TableCost columns = cost_of(table, {.placement = Placement::kColumnWise, .column_parts = 4}, setting);
  EXPECT_EQ(columns.owner.row_bytes, 32'000);
  EXPECT_EQ(columns.owner.state_bytes, 64'000);
  EXPECT_EQ(columns.every.row_bytes, 0);
}

TEST(CostModel, TablesWithoutOptimizerSendNoGradients) {
  TableRequest table = distinct_table(32);
  table.spec.optimizer.kind = RowOptimizerKind::kNone;
  const TableCost cost = cost_of(table, {.placement = Placement::kRowWise}, {kProfile, 4, 100});
  EXPECT_EQ(sent(cost, kGradients), 0);
  EXPECT_EQ(cost.every.work[kUpdating], 0);
  EXPECT_GT(sent(cost, kRows), 0);
}

TEST(CostModel, HotRowsLevelTheSums) {
  TableRequest table = table_of("item", 1000, 32);
  table.statistics.skew = 1.2;
  const double uneven = sum_imbalance(table, 16, 0);
  EXPECT_NEAR(uneven, 1 + 15 * PowerLaw(1000, 1.2).share_of_first(1), 1e-12);
  EXPECT_GT(uneven, 2.0);
  EXPECT_LT(sum_imbalance(table, 16, 64), 1.1);
  EXPECT_EQ(sum_imbalance(table, 16, 1000), 1.0);
  const TableChoice cold{.placement = Placement::kRowWise, .way_home = WayHome::kSums};
  TableChoice hot = cold;
  hot.hot_rows = 64;
  const CostSetting setting{kProfile, 16, 100};
  EXPECT_LT(cost_of(table, hot, setting).every.work[kSumming], cost_of(table, cold, setting).every.work[kSumming]);
  EXPECT_LT(sent(cost_of(table, hot, setting), kBagEntries), sent(cost_of(table, cold, setting), kBagEntries));
  EXPECT_GT(cost_of(table, hot, setting).every.row_bytes, cost_of(table, cold, setting).every.row_bytes);
}

TEST(LinkCost, ReadsRatesOnLogarithmicScales) {
  const LinkCost link{.rates = {{1e3, 1e8}, {1e5, 1e10}}};
  EXPECT_DOUBLE_EQ(link.rate(10), 1e8);
  EXPECT_DOUBLE_EQ(link.rate(1e3), 1e8);
  EXPECT_NEAR(link.rate(1e4), 1e9, 1);
  EXPECT_DOUBLE_EQ(link.rate(1e7), 1e10);
}

TEST(CollectiveCost, CountsPeersOfBothKindsByHand) {
  CollectiveCost cost;
  cost.within = {.call_seconds = 5e-6, .message_seconds = 1e-6, .rates = {{1, 1e10}}};
  cost.across = {.call_seconds = 8e-6, .message_seconds = 3e-6, .rates = {{1, 1e9}}};
  EXPECT_EQ(cost_near(cost, 4, 1, 1e6).seconds(1e6), 0.0);
  // One node of 4: 3 peers within.
  EXPECT_NEAR(cost_near(cost, 8, 4, 3e6).seconds(3e6), 5e-6 + 3e-6 + 3e6 / 1e10, 1e-15);
  // 16 ranks on 4 nodes: 3 peers within, 12 across; 15 MB are 1 MB for each.
  EXPECT_NEAR(cost_near(cost, 4, 16, 15e6).seconds(15e6), 8e-6 + 3e-6 + 36e-6 + 3e6 / 1e10 + 12e6 / 1e9, 1e-12);
}

TEST(StepClock, AddsThePartsByHand) {
  const CostSetting setting{kProfile, 2, 100};
  const TableRequest table = distinct_table(32);
  const TableCost cost = cost_of(table, {.placement = Placement::kRowWise}, setting);
  const StepClock clock(setting, {.gradient_bytes = 1e6}, 1, cost.every);
  const StepParts parts = clock.parts(cost.every, clock.seconds(cost.every) + 1e-3);
  // n = d = 2000, half of it leaves: 1000 ids, rows of 132 bytes, gradients of 128; a message of 10 us each.
  EXPECT_NEAR(parts.ids, 1e-5 + 8e-9 + 1e-5 + 12e-6, 1e-12) << "counts, then ids";
  EXPECT_NEAR(parts.rows, 1e-5 + 132e-6, 1e-12);
  EXPECT_NEAR(parts.gradients, 1e-5 + 128e-6, 1e-12);
  EXPECT_NEAR(parts.dense, 1e-5 + 1e-3, 1e-12);
  EXPECT_NEAR(parts.route, 2000e-7 + 2000e-7 + 2000e-7, 1e-12) << "asked, heard, found (D / W = 2000 rows)";
  const double row = 1e-7 + 128e-9;
  EXPECT_NEAR(parts.lookup, 2000 * row + 1000 * row + 500 * row, 1e-12)
      << "gathered; half of what 1000 rows out and 1000 in take, half of what 1000 gradients take to send";
  EXPECT_NEAR(parts.pool, 3 * 2000 * row, 1e-12) << "there, back, and the gradient of the row";
  EXPECT_NEAR(parts.update, 500 * row + 2000 * (1e-7 + 132e-9), 1e-12) << "merged, updated";
  EXPECT_NEAR(parts.wait, 1e-3, 1e-12);
  EXPECT_EQ(parts.fixed, 0);
  EXPECT_NEAR(clock.seconds(cost.every) + 1e-3, parts.total(), 1e-15);
}

TEST(HardwareProfileValidation, NamesFieldValueAndRange) {
  const auto refusal = [](const auto& spoil) -> std::string {
    HardwareProfile profile = round_profile();
    spoil(profile);
    try {
      validate(profile);
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
      return error.what();
    }
    return "taken";
  };
  EXPECT_EQ(refusal([](HardwareProfile&) {}), "taken");
  EXPECT_EQ(refusal([](HardwareProfile& p) { p.memory_bytes = 0; }),
            "profile \"round\": memory_bytes must be finite and > 0, got 0");
  EXPECT_THAT(refusal([](HardwareProfile& p) { p.ranks_per_node = 0; }),
              HasSubstr("ranks_per_node must be >= 1, got 0"));
  EXPECT_THAT(refusal([](HardwareProfile& p) { p.all_to_all.across.rates.clear(); }),
              HasSubstr("all_to_all.across.rates must be at least one"));
  EXPECT_THAT(refusal([](HardwareProfile& p) { p.all_reduce.within.rates = {{8, 1e9}, {8, 1e9}}; }),
              HasSubstr("all_reduce.within.rates.message_bytes must be larger than the one before, got 8"));
  EXPECT_THAT(refusal([](HardwareProfile& p) { p.sums.memory.clear(); }),
              HasSubstr("sums.memory must be at least one"));
  EXPECT_THAT(refusal([](HardwareProfile& p) { p.rows.memory[0].update.byte_seconds = -1; }),
              HasSubstr("rows.memory.update.byte_seconds must be finite and >= 0, got -1"));
}

}  // namespace
}  // namespace rondo
