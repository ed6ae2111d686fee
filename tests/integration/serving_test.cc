// What a stored item index recommends is what the model recommends.
#include <gtest/gtest.h>

#include "tests/integration/training_run.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "tests/support/tiny_shop.h"
#include "trainer/loop/index_ranker.h"
#include "trainer/loop/model_ranker.h"
#include "trainer/loop/recommender_task.h"
#include "trainer/loop/train_loop.h"

namespace rondo {
namespace {

using testing::RankTest;
using testing::ScratchFolder;
using testing::TinyShop;

/// A tiny shop and a model that was trained on it, with one way to weigh histories.
struct Trained {
  Trained(Communicator& comm, HistoryWeight weight, InteractionKind interaction)
      : data{shop.catalog, shop.events, {}, shop.split, shop.tokens, TinyShop::kVocabulary, ""},
        options(options_of(weight, interaction)),
        recommender(options.model, data, options.seed, comm) {
    RecommenderTask task(options.train, examples, data, recommender, comm);
    TrainLoop(options.train, task, comm).run({});
  }

  static testing::TrainingRunOptions options_of(HistoryWeight weight, InteractionKind interaction) {
    auto options =
        testing::tiny_run(at::kFloat, Placement::kRowWise, RowOptimizerKind::kAdam, DenseOptimizerKind::kSgd);
    options.train.steps = 8;
    options.model.user.weight = weight;
    options.model.user.half_life_events = 2.0;
    options.model.interaction.kind = interaction;
    return options;
  }

  TinyShop shop;
  RecommenderData data;
  testing::TrainingRunOptions options;
  ExampleOptions examples{.history_max = 4};
  Recommender recommender;
};

std::span<const EvaluationCase> share_of(const std::vector<EvaluationCase>& cases, const Communicator& comm) {
  const auto size = static_cast<int64_t>(cases.size());
  const auto begin = static_cast<size_t>(size * comm.rank() / comm.size());
  const auto end = static_cast<size_t>(size * (comm.rank() + 1) / comm.size());
  return std::span(cases).subspan(begin, end - begin);
}

void expect_equal_lists(const RankedLists& got, const RankedLists& expected) {
  EXPECT_EQ(got.offsets, expected.offsets);
  EXPECT_EQ(got.places, expected.places);
  ASSERT_EQ(got.scores.size(), expected.scores.size());
  for (size_t i = 0; i < got.scores.size(); ++i) EXPECT_NEAR(got.scores[i], expected.scores[i], 1e-5) << i;
}

class ServingTest : public RankTest {};

TEST_P(ServingTest, RanksAsTheModelThatItIsOf) {
  for (const auto weight : {HistoryWeight::kMean, HistoryWeight::kTimeDecay, HistoryWeight::kPositionDecay}) {
    for (const auto interaction : {InteractionKind::kCosine, InteractionKind::kDot}) {
      const ScratchFolder folder;
      on_each_rank([&](Communicator& comm) {
        Trained trained(comm, weight, interaction);
        const auto cases = share_of(trained.shop.split.test, comm);
        ModelRanker model(trained.recommender, trained.data, trained.examples, comm, trained.options.train.steps);
        model.prepare(cases);
        const RankedLists expected = model.rank(cases, 10);

        const auto files = make_posix_file_system();
        write_item_index(comm, *files, folder.path(), model.index());
        const ItemIndex index = read_item_index(comm, folder.path(), {});
        IndexRanker ranker(comm, index, trained.shop.events, trained.options.model, trained.examples);
        expect_equal_lists(ranker.rank(cases, 10), expected);
      });
    }
  }
}

RONDO_INSTANTIATE_RANK_TEST(ServingTest);

}  // namespace
}  // namespace rondo
