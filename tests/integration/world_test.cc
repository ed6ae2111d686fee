// W ranks and one rank give the same losses, parameters, rows and optimizer state (DESIGN 3), with everything in the
// model: text tower, dropout, id dropout, text vectors of histories, uneven last batches, ranks without examples.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/integration/training_run.h"
#include "tests/support/rank_test.h"
#include "tests/support/tiny_shop.h"
#include "trainer/eval/gather.h"
#include "trainer/text/packed_texts.h"
#include "trainer/text/text_tower.h"

namespace rondo {
namespace {

using testing::deviation;
using testing::run_training;
using testing::tiny_run;
using testing::TinyShop;
using testing::TrainingRun;
using testing::TrainingRunOptions;

TrainingRun run_alone(const TrainingRunOptions& options) {
  TrainingRun run;
  run_ranks(1, testing::test_options(), [&](Communicator& comm) { run = run_training(comm, options); });
  return run;
}

struct Case {
  const char* name;
  TrainingRunOptions options;
  double tolerance;
};

TrainingRunOptions frozen(TrainingRunOptions options) {
  options.model.frozen_text = true;
  return options;
}

std::vector<Case> cases() {
  using Rows = RowOptimizerKind;
  using Dense = DenseOptimizerKind;
  return {
      {"fp64, row-wise, Adagrad rows, AdamW",
       tiny_run(at::kDouble, Placement::kRowWise, Rows::kRowWiseAdagrad, Dense::kAdamW), 1e-9},
      {"fp64, replicated, Adam rows, AdamW", tiny_run(at::kDouble, Placement::kReplicated, Rows::kAdam, Dense::kAdamW),
       1e-9},
      {"fp64, table-wise, SGD rows, AdamW", tiny_run(at::kDouble, Placement::kTableWise, Rows::kSgd, Dense::kAdamW),
       1e-9},
      {"fp64, row-wise, Adagrad rows, AdamW, frozen texts",
       frozen(tiny_run(at::kDouble, Placement::kRowWise, Rows::kRowWiseAdagrad, Dense::kAdamW)), 1e-9},
      {"fp32, row-wise, SGD, frozen texts", frozen(tiny_run(at::kFloat, Placement::kRowWise, Rows::kSgd, Dense::kSgd)),
       1e-5},
      {"fp32, row-wise, SGD", tiny_run(at::kFloat, Placement::kRowWise, Rows::kSgd, Dense::kSgd), 1e-5},
      {"fp32, row-wise, Adagrad rows, AdamW",
       tiny_run(at::kFloat, Placement::kRowWise, Rows::kRowWiseAdagrad, Dense::kAdamW), 1e-3},
  };
}

class WorldTest : public testing::RankTest {};

TEST_P(WorldTest, AnyNumberOfRanksTrainsTheSameModel) {
  for (const Case& one : cases()) {
    SCOPED_TRACE(one.name);
    const TrainingRun expected = run_alone(one.options);
    ASSERT_EQ(expected.losses.size(), 50U);
    on_each_rank([&](Communicator& comm) {
      const TrainingRun got = run_training(comm, one.options);
      EXPECT_EQ(got.losses.size(), expected.losses.size());
      for (size_t i = 0; i < got.losses.size(); ++i) {
        EXPECT_NEAR(got.losses[i], expected.losses[i], 1e-5 * std::abs(expected.losses[i])) << "step " << i + 1;
      }
      const auto worst = deviation(got, expected);
      EXPECT_LE(worst.value, one.tolerance) << worst.where;
      EXPECT_FALSE(got.dense.empty());
    });
  }
}

TEST_P(WorldTest, TheBackendDoesNotChangeABit) {
  const auto options = tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kAdamW);
  std::vector<TrainingRun> threads(static_cast<size_t>(world()));
  run_ranks(world(), testing::test_options(),
            [&](Communicator& comm) { threads[static_cast<size_t>(comm.rank())] = run_training(comm, options); });
  on_each_rank([&](Communicator& comm) {
    const TrainingRun got = run_training(comm, options);
    const TrainingRun& expected = threads[static_cast<size_t>(comm.rank())];
    EXPECT_EQ(got.losses, expected.losses);
    const auto worst = deviation(got, expected);
    EXPECT_EQ(worst.value, 0.0) << worst.where;
  });
}

TEST_P(WorldTest, RoutingAheadDoesNotChangeABit) {
  const auto ahead = tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kAdamW);
  auto in_turn = ahead;
  in_turn.train.overlap_exchange = false;
  on_each_rank([&](Communicator& comm) {
    const TrainingRun expected = run_training(comm, in_turn);
    const TrainingRun got = run_training(comm, ahead);
    EXPECT_EQ(got.losses, expected.losses);
    const auto worst = deviation(got, expected);
    EXPECT_EQ(worst.value, 0.0) << worst.where;
    for (const auto& [table, rows] : expected.rows) {
      EXPECT_EQ(got.rows.at(table).size(), rows.size()) << table;
    }
  });
}

TEST_P(WorldTest, AFrozenEncoderStaysAndEncodesEachTextOnce) {
  const auto options =
      frozen(tiny_run(at::kDouble, Placement::kRowWise, RowOptimizerKind::kSgd, DenseOptimizerKind::kSgd));
  const TinyShop shop;
  TextTowerOptions shape = options.model.text;
  shape.vocabulary_size = TinyShop::kVocabulary;
  shape.output_size = options.model.dim;
  const TextTower tower(shape, "text", options.seed, at::kDouble);  // as the model's begins
  std::map<uint64_t, at::Tensor> expected;
  for (size_t i = 0; i + 1 < shop.tokens.offsets.size(); ++i) {
    const auto text = std::span(shop.tokens.tokens)
                          .subspan(static_cast<size_t>(shop.tokens.offsets[i]),
                                   static_cast<size_t>(shop.tokens.offsets[i + 1] - shop.tokens.offsets[i]));
    if (text.size() > 2) expected[text_digest(text)] = tower.pooled(pack_texts(std::span(&text, 1)), {});
  }
  on_each_rank([&](Communicator& comm) {
    const TrainingRun got = run_training(comm, options);
    for (const NamedParameter& parameter : tower.parameters()) {
      const bool learns = parameter.name.starts_with("text.projection.");
      EXPECT_EQ(got.dense.at(parameter.name).equal(parameter.value), !learns) << parameter.name;
    }
    EXPECT_FALSE(got.rows.contains("item.text_vector"));
    std::vector<int64_t> keys;
    const auto rows = got.rows.find("item.frozen_text");
    for (const auto& [key, row] : rows == got.rows.end() ? decltype(rows->second){} : rows->second) {
      keys.push_back(static_cast<int64_t>(key));
      EXPECT_LE((row.values - expected.at(key)[0]).abs().max().item<double>(), 1e-12);
      EXPECT_EQ(row.version, 1);
    }
    EXPECT_EQ(gather_values(comm, std::span<const int64_t>(keys), "keys").size(), expected.size());
  });
}

RONDO_INSTANTIATE_RANK_TEST(WorldTest);

}  // namespace
}  // namespace rondo
