#include "launch/job_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "sharding/base/error.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

std::string refusal(const std::vector<std::string>& assignments) {
  try {
    load_job({}, assignments);
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
    return error.what();
  }
  ADD_FAILURE() << "nothing thrown for " << assignments.front();
  return "";
}

TEST(JobOptionsTest, DefaultsOfTheManualAreThoseOfTheOptions) {
  const JobOptions job = load_job({}, {});
  const TrainOptions train;
  EXPECT_EQ(job.train.steps, train.steps);
  EXPECT_EQ(job.train.epochs, train.epochs);
  EXPECT_EQ(job.train.global_batch, train.global_batch);
  EXPECT_EQ(job.train.schedule.warmup_steps, train.schedule.warmup_steps);
  EXPECT_EQ(job.train.clip_norm, train.clip_norm);
  EXPECT_EQ(job.train.keep_checkpoints, train.keep_checkpoints);
  const ModelOptions model;
  EXPECT_EQ(job.model.dim, model.dim);
  EXPECT_EQ(job.model.item.id_dropout, model.item.id_dropout);
  EXPECT_EQ(job.model.interaction.temperature, model.interaction.temperature);
  EXPECT_EQ(job.model.loss.minimum_probability, model.loss.minimum_probability);
  EXPECT_EQ(job.model.text.hidden_size, model.text.hidden_size);
  EXPECT_EQ(job.model.text_refresh_steps, model.text_refresh_steps);
  const TableSpec table;
  EXPECT_EQ(job.model.item_table.buckets, table.buckets);
  EXPECT_EQ(job.model.item_table.placement, table.placement);
  EXPECT_EQ(job.model.item_table.owner, table.owner);
  EXPECT_EQ(job.model.item_table.initial_scale, table.initial_scale);
  EXPECT_EQ(job.model.item_table.optimizer.kind, table.optimizer.kind);
  EXPECT_EQ(job.model.item_table.optimizer.learning_rate, table.optimizer.learning_rate);
  EXPECT_EQ(job.communication.step_deadline, CommunicatorOptions{}.step_deadline);
  EXPECT_EQ(job.split.min_user_events, SplitOptions{}.min_user_events);
  EXPECT_EQ(job.evaluation.k, EvaluationOptions{}.k);
  EXPECT_FALSE(job.has_schema);
  EXPECT_FALSE(job.data.split.has_value());
}

TEST(JobOptionsTest, ValuesOutOfRangeNameTheFieldAndThePlace) {
  EXPECT_THAT(refusal({"train.global_batch=0"}),
              HasSubstr("--set train.global_batch=0: train.global_batch must be 1 or more, got 0"));
  EXPECT_THAT(refusal({"model.temperature=0"}), HasSubstr("--set model.temperature=0: model.temperature"));
  EXPECT_THAT(refusal({"model.dim=-1"}), HasSubstr("model.dim must be from 1 to 4096, got -1"));
  EXPECT_THAT(refusal({"split.test_fraction=2"}), HasSubstr("--set split.test_fraction=2"));
  EXPECT_THAT(refusal({"tables.item.optimizer.learning_rate=-1"}), HasSubstr("learning_rate"));
  EXPECT_THAT(refusal({"tables.category.owner=-2"}), HasSubstr("owner must be a rank, or -1 for any, got -2"));
  EXPECT_THAT(refusal({"tables.item.optimizer.clip_norm=-1"}), HasSubstr("clip_norm must be finite and >= 0, got -1"));
  EXPECT_THAT(refusal({"tables.clip_norm=-1"}), HasSubstr("tables.clip_norm must be finite and >= 0, got -1"));
  EXPECT_THAT(refusal({"name=../x"}), HasSubstr("--set name=../x: name must be letters"));
  EXPECT_THAT(refusal({"synth.events=5"}), HasSubstr("synth.events must be from 1000"));
  EXPECT_THAT(refusal({"evaluation.item_knn_max_items=-1"}), HasSubstr("item"));
}

TEST(JobOptionsTest, RowsLearnAsTheirTableSays) {
  const JobOptions job = load_job(
      {}, {"tables.item.optimizer={kind: ROW_WISE_ADAM learning_rate: 0.5 weight_decay: 0.1}",
           "tables.category.optimizer.kind=ADAGRAD", "tables.category.optimizer.clip_norm=2", "tables.clip_norm=3"});
  const RowOptimizerOptions& item = job.model.item_table.optimizer;
  EXPECT_EQ(item.kind, RowOptimizerKind::kRowWiseAdam);
  EXPECT_EQ(item.learning_rate, 0.5);
  EXPECT_EQ(item.weight_decay, 0.1);
  EXPECT_EQ(job.model.bag_table.optimizer.kind, RowOptimizerKind::kAdagrad);
  EXPECT_EQ(job.model.bag_table.optimizer.clip_norm, 2.0);
  EXPECT_EQ(job.model.embedding.clip_norm, 3.0);
}

TEST(JobOptionsTest, ASchemaSaysWhatItLacks) {
  EXPECT_THAT(refusal({"schema.preset=SEQUENCES"}), HasSubstr("schema.event_file.path must name at least one file"));
  EXPECT_THAT(refusal({"schema.event_file={path: \"x.csv\" delimiter: \"ab\"}"}),
              HasSubstr("event_file.delimiter must be one character, got \"ab\""));
}

TEST(JobOptionsTest, TheDigestIsOfWhatAResumedRunMustShare) {
  const std::string digest = load_job({}, {"train.steps=10"}).digest;
  EXPECT_EQ(load_job({}, {"train.steps=20", "name=other", "evaluation.k=7"}).digest, digest);
  EXPECT_NE(load_job({}, {"model.dim=32"}).digest, digest);
  EXPECT_NE(load_job({}, {"seed=2"}).digest, digest);
}

TEST(JobOptionsTest, EveryShippedJobIsValidAndRunsAgainWrittenOut) {
  const auto configs = std::filesystem::path(std::getenv("RONDO_SOURCE_DIR")) / "configs";
  int jobs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(configs)) {
    if (entry.path().extension() != ".textproto") continue;
    ++jobs;
    const JobOptions job = load_job({entry.path().string()}, {});
    EXPECT_TRUE(job.has_schema) << entry.path();
    EXPECT_FALSE(job.data.dataset.empty()) << entry.path();
  }
  EXPECT_GE(jobs, 1);
}

}  // namespace
}  // namespace rondo
