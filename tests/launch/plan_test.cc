#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "launch/auto_placement.h"
#include "launch/commands.h"
#include "launch/plan_report.h"
#include "launch/plan_request.h"
#include "launch/profile_text.h"
#include "sharding/base/error.h"
#include "sharding/comm/thread_communicator.h"
#include "tests/support/scratch_folder.h"
#include "tests/support/tiny_shop.h"
#include "trainer/data/examples.h"

namespace rondo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::TinyShop;

template <typename Body>
std::string refusal(const Body& body) {
  try {
    body();
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
    return error.what();
  }
  ADD_FAILURE() << "nothing thrown";
  return "";
}

std::string write_profile(const ScratchFolder& folder, const std::string& text) {
  const std::string path = (folder.path() / "p.textproto").string();
  std::ofstream(path) << text;
  return path;
}

TEST(ProfileText, CarriesTheShippedProfiles) {
  std::set<std::string> names;
  for (const BuiltInProfile& profile : kBuiltInProfiles) {
    names.insert(profile.name);
    EXPECT_EQ(load_profile(profile.name).name, profile.name);
  }
  EXPECT_EQ(names, (std::set<std::string>{"a100", "cpu", "h100"}));
  const HardwareProfile h100 = load_profile("h100");
  EXPECT_EQ(h100.ranks_per_node, 8);
  EXPECT_TRUE(h100.knows_across);
  EXPECT_DOUBLE_EQ(h100.all_to_all.across.rate(1e6), 48.5e9);
  EXPECT_DOUBLE_EQ(h100.all_to_all.across.message_seconds, 2.7e-6);
}

TEST(ProfileText, SaysWhatItWasGiven) {
  const ScratchFolder folder;
  HardwareProfile profile = load_profile("h100");
  profile.knows_across = false;
  profile.sums.memory = {{1e6, {1e-8, 0}, {2e-8, 1e-9}, {3e-8, 2e-9}}, {1e9, {4e-8, 0}, {5e-8, 3e-9}, {6e-8, 4e-9}}};
  profile.rows.leaf = {7e-9, 8e-10};
  profile.peer_table_seconds = 3e-6;
  const std::string text = profile_text(profile, "two\nlines");
  EXPECT_THAT(text, ::testing::StartsWith("# two\n# lines\nname: \"h100\"\n"));
  const HardwareProfile read = load_profile(write_profile(folder, text));
  EXPECT_FALSE(read.knows_across);
  EXPECT_DOUBLE_EQ(read.all_to_all.across.rate(1e6), 370e9) << "as within";
  EXPECT_EQ(read.memory_bytes, profile.memory_bytes);
  ASSERT_EQ(read.sums.memory.size(), 2U);
  EXPECT_NEAR(read.sums.memory[1].update.item_seconds, 6e-8, 1e-20);
  EXPECT_NEAR(read.sums.memory[1].update.byte_seconds, 4e-9, 1e-20);
  EXPECT_EQ(read.sums.memory[0].find.byte_seconds, 0.0);
  EXPECT_EQ(read.rows.memory.size(), 1U);
  EXPECT_NEAR(read.rows.leaf.item_seconds, 7e-9, 1e-20);
  EXPECT_NEAR(read.rows.leaf.byte_seconds, 8e-10, 1e-20);
  EXPECT_DOUBLE_EQ(read.peer_table_seconds, 3e-6);
  EXPECT_DOUBLE_EQ(read.all_reduce.within.call_seconds, profile.all_reduce.within.call_seconds);
}

TEST(ProfileText, NamesPlaceAndNearestName) {
  const ScratchFolder folder;
  EXPECT_THAT(refusal([] { load_profile("h10"); }),
              AllOf(HasSubstr("--profile h10: neither a file nor"), HasSubstr("a100, cpu, h100"), HasSubstr("h100")));
  const std::string typo = write_profile(folder, "name: \"x\"\nrows: 3\n");
  EXPECT_THAT(refusal([&] { load_profile(typo); }), HasSubstr(typo + ":2:7: Expected"));
  const std::string unknown = write_profile(folder, "name: \"x\"\nmemory_gbs: 3\n");
  EXPECT_THAT(refusal([&] { load_profile(unknown); }),
              AllOf(HasSubstr(unknown + ":2:"), HasSubstr("memory_gbs"), HasSubstr("memory_gb")));
  const std::string empty = write_profile(folder, "name: \"x\"\n");
  EXPECT_THAT(refusal([&] { load_profile(empty); }),
              HasSubstr(empty + ": profile \"x\": memory_bytes must be finite and > 0, got 0"));
}

TEST(PlanRequestTest, ListsTablesAlike) {
  const JobOptions job =
      load_job({}, {"plan=table { name: \"t\" count: 3 rows: 1000 dim: 32 ids_per_example: 5 pooled: true "
                    "table { placement: REPLICATED } } table { name: \"u\" rows: 7 }"});
  const PlanRequest request = request_of_listed_tables(job, {4, load_profile("h100")});
  ASSERT_EQ(request.tables.size(), 4U);
  EXPECT_EQ(request.tables[2].spec.name, "t2");
  EXPECT_EQ(request.tables[2].spec.dim, 32);
  EXPECT_EQ(request.tables[2].statistics.ids_per_example, 5);
  EXPECT_TRUE(request.tables[2].pooled);
  EXPECT_EQ(request.tables[2].allowed, std::vector{Placement::kReplicated});
  EXPECT_EQ(request.tables[3].spec.name, "u");
  EXPECT_TRUE(request.tables[3].allowed.empty());
  EXPECT_EQ(request.global_batch, job.train.global_batch);
  EXPECT_THAT(refusal([] { load_job({}, {"plan=table { name: \"t\" rows: 5 skew: -1 }"}); }),
              HasSubstr("table \"t\": skew must be in [0, 10], got -1"));
}

TEST(PlanRequestTest, TakesWaysHomeAndHotRows) {
  const JobOptions job = load_job({}, {"plan=table { name: \"t\" rows: 1000 pooled: true way_home: SUMS hot_rows: 4 "
                                       "table { placement: ROW_WISE } } table { name: \"u\" rows: 7 "
                                       "table { placement: AUTO } }"});
  const PlanRequest request = request_of_listed_tables(job, {4, load_profile("h100")});
  EXPECT_TRUE(request.tables[1].allowed.empty()) << "AUTO";
  EXPECT_FALSE(request.tables[1].way_home.has_value());
  const TableChoice choice = make_plan(request).tables[0].placed.choice;
  EXPECT_EQ(to_text(choice), "row_wise, sums home, 4 hot rows");
  EXPECT_THAT(refusal([] { load_job({}, {"plan=table { name: \"t\" rows: 9 way_home: SUMS }"}); }),
              HasSubstr("table \"t\": way_home must be rows when"));
}

TEST(PlanRequestTest, CountsTheIdsThatTrainingAsksFor) {
  TinyShop shop(400, 300);
  JobOptions job = load_job({}, {"train.global_batch=64", "model.dim=8", "tables.item.placement=REPLICATED"});
  RecommenderData data{shop.catalog, shop.events, {}, shop.split, shop.tokens, TinyShop::kVocabulary, ""};
  job.model.text.vocabulary_size = TinyShop::kVocabulary;
  const ItemFeatures features(data.catalog, data.tokens);
  const RecommenderModel model(job.model, features, job.seed);
  const PlanRequest request = request_of_model(job, data, model, {2, load_profile("h100")});
  ASSERT_EQ(request.tables.size(), model.tables().size());
  EXPECT_EQ(request.tables[0].spec.name, "item");
  EXPECT_EQ(request.tables[0].spec.rows, 300);
  EXPECT_EQ(request.tables[0].allowed, std::vector{Placement::kReplicated});
  EXPECT_EQ(request.tables[1].spec.name, "item.category");
  EXPECT_EQ(request.tables[1].spec.rows, 6);

  // The whole batches, by hand.
  const TrainingExamples examples(data.events, data.split, job.examples, job.seed);
  DataCursor cursor;
  double ids = 0, distinct = 0;
  for (int i = 0; i < 4; ++i) {
    const Batch batch = examples.next(cursor, 64, 0, 1);
    std::set<int32_t> items(batch.targets.begin(), batch.targets.end());
    items.insert(batch.history_items.begin(), batch.history_items.end());
    ids += static_cast<double>(batch.targets.size() + batch.history_items.size());
    distinct += static_cast<double>(items.size());
    const std::vector<FeatureStart> features = model.ids(batch)[0].features;
    ASSERT_EQ(features.size(), 2U);
    EXPECT_EQ(features[0].name, "target");
    EXPECT_EQ(features[1].name, "history");
    EXPECT_EQ(features[1].first, batch.size());
  }
  EXPECT_DOUBLE_EQ(request.tables[0].statistics.ids_per_example, ids / 256);
  ASSERT_EQ(request.tables[0].statistics.measured.size(), 2U);
  EXPECT_DOUBLE_EQ(request.tables[0].statistics.measured[1].ids, ids / 4);
  EXPECT_DOUBLE_EQ(request.tables[0].statistics.measured[1].distinct, distinct / 4);
  EXPECT_GT(request.dense.gradient_bytes, 0);
  EXPECT_EQ(request.dense.memory_bytes, 4 * request.dense.gradient_bytes);
}

TEST(AutoPlacement, PlacesTheTablesThatAskForIt) {
  TinyShop shop(400, 300);
  JobOptions job = load_job({}, {"train.global_batch=64", "model.dim=16", "tables.category.placement=AUTO"});
  EXPECT_FALSE(job.places_items);
  EXPECT_TRUE(job.places_categories);
  const RecommenderData data{shop.catalog, shop.events, {}, shop.split, shop.tokens, TinyShop::kVocabulary, ""};
  std::mutex lock;
  std::set<int> chosen;
  run_ranks(2, {}, [&](Communicator& comm) {
    const ModelOptions model = placed_model(job, data, comm);
    const std::lock_guard guard(lock);
    ASSERT_EQ(model.placements.size(), 1U);
    EXPECT_EQ(model.placements[0].table, "item.category");
    chosen.insert(static_cast<int>(model.placements[0].placement));
  });
  EXPECT_EQ(chosen.size(), 1U) << "ranks differ";
  job.profile = "h10";
  EXPECT_THAT(refusal([&] { placed_model(job, data, *make_single_communicator({})); }), HasSubstr("--profile h10"));
}

TEST(PlanReport, SaysEveryTableAndRank) {
  const JobOptions job =
      load_job({}, {"plan=table { name: \"t\" count: 3 rows: 1000000 } table { name: \"u\" rows: 7 }"});
  const PlanRequest request = request_of_listed_tables(job, {2, load_profile("h100")});
  const Plan plan = make_plan(request);
  const auto json = plan_json(request, plan);
  EXPECT_EQ(json["tables"].size(), 4U);
  EXPECT_EQ(json["ranks"].size(), 2U);
  double parts = 0.0, bytes = 0.0;
  for (const auto& [name, value] : json["step_parts_ms"].items()) parts += value.get<double>();
  EXPECT_NEAR(parts, json["step_ms"].get<double>(), 1e-9);
  for (const auto& [name, value] : json["memory_bytes"].items()) bytes += name == "total" ? 0.0 : value.get<double>();
  EXPECT_NEAR(bytes, json["memory_bytes"]["total"].get<double>(), 1e-3);
  EXPECT_THAT(plan_text(request, plan), AllOf(HasSubstr("4 tables on 2 ranks of \"h100\""), HasSubstr("memory"),
                                              HasSubstr("next best"), HasSubstr("t0")));
}

TEST(PlanCommand, SaysWhatIsMissing) {
  const auto run = [](std::vector<std::string> words) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    return run_plan(static_cast<int>(argv.size()), argv.data());
  };
  EXPECT_THAT(refusal([&] { run({"plan", "--profile", "h100", "--set", "data.dataset=no/such"}); }),
              AllOf(HasSubstr("nothing to plan for: no/such is no dataset"), HasSubstr("plan { table")));
  EXPECT_THAT(refusal([&] { run({"plan", "--profile", "h100"}); }), HasSubstr("data.dataset names no folder"));
  EXPECT_THAT(refusal([&] {
                run({"plan", "--profile", "h100", "--world", "2", "--set",
                     "plan=table { name: \"item\" rows: 2000000000 dim: 128 }"});
              }),
              AllOf(HasSubstr("the tables do not fit: rank 0 of 2 needs"), HasSubstr("ranks fit")));
}

}  // namespace
}  // namespace rondo
