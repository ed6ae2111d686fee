#include "launch/job_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

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
  EXPECT_EQ(job.communication.share_memory, CommunicatorOptions{}.share_memory);
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
  const TableSpec rows = load_job({}, {"tables.item={row_type: BF16 row_codec: FP16}"}).model.item_table;
  EXPECT_EQ(rows.row_type, RowType::kBFloat16);
  EXPECT_EQ(rows.row_codec, WireCodec::kFloat16);
  EXPECT_EQ(rows.gradient_codec, WireCodec::kNone);
}

/// The field alone in a file, each name on a line of its own; and the place where the last one begins.
std::string nested(const std::string& path, const std::string& value, std::string& place) {
  std::istringstream names(path);
  std::string text, name;
  int depth = 0;
  while (std::getline(names, name, '.')) {
    if (depth > 0) text += " {\n";
    text += std::string(2 * static_cast<size_t>(depth++), ' ') + name;
  }
  place = ":" + std::to_string(depth) + ":" + std::to_string(2 * depth - 1) + ": ";
  text += ": " + value;
  for (int open = 1; open < depth; ++open) text += " }";
  return text;
}

TEST(JobOptionsTest, ProductsOfTheTextTowerAreRoundedOnlyWhenAsked) {
  EXPECT_EQ(load_job({}, {}).model.text.precision, ProductPrecision::kFloat32);
  EXPECT_EQ(load_job({}, {"text.products=PRODUCTS_BF16"}).model.text.precision, ProductPrecision::kBFloat16);
  EXPECT_THAT(refusal({"text.products=FP16"}), HasSubstr("text.products"));
}

TEST(JobOptionsTest, EveryBadValueIsNamedAndFoundAsTheJobSaysIt) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"name", "\"a/b\""},
      {"threads", "-1"},
      {"synth.events", "5"},
      {"synth.users", "0"},
      {"synth.items", "1"},
      {"split.valid_fraction", "1"},
      {"split.test_fraction", "nan"},
      {"split.min_user_events", "0"},
      {"data.history_max", "0"},
      {"tables.item.rows", "-1"},
      {"tables.item.buckets", "48"},
      {"tables.item.initial_scale", "inf"},
      {"tables.category.count_decay", "2"},
      {"tables.item.optimizer.learning_rate", "-1"},
      {"tables.category.optimizer.epsilon", "0"},
      {"text.max_tokens", "2"},
      {"text.hidden_size", "0"},
      {"text.num_attention_heads", "3"},
      {"text.hidden_dropout_prob", "nan"},
      {"text.attention_probs_dropout_prob", "1"},
      {"text.max_position_embeddings", "0"},
      {"text.refresh_steps", "0"},
      {"model.dim", "0"},
      {"model.id_beta", "inf"},
      {"model.category_beta", "-1"},
      {"model.id_dropout", "1"},
      {"model.half_life_days", "0"},
      {"model.temperature", "inf"},
      {"model.behaviour_weight.weight", "nan"},
      {"loss.minimum_probability", "nan"},
      {"train.steps", "-1"},
      {"train.epochs", "nan"},
      {"train.global_batch", "0"},
      {"train.warmup_steps", "-1"},
      {"train.clip_norm", "-1"},
      {"train.log_steps", "0"},
      {"train.checkpoint_steps", "-1"},
      {"train.keep_checkpoints", "0"},
      {"train.optimizer.learning_rate", "inf"},
      {"train.optimizer.epsilon", "0"},
      {"evaluation.k", "0"},
      {"evaluation.max_users", "-1"},
      {"evaluation.item_knn_max_items", "-1"},
      {"communication.start_deadline_s", "0"},
      {"communication.step_deadline_s", "-5"},
  };
  const testing::ScratchFolder folder;
  const auto file = folder.path() / "bad.textproto";
  for (const auto& [path, value] : bad) {
    std::string place;
    std::ofstream(file) << nested(path, value, place);
    try {
      load_job({file.string()}, {});
      ADD_FAILURE() << path << " = " << value << " is accepted";
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), StartsWith(file.string() + place + path + " must "));
    }
  }
}

TEST(JobOptionsTest, WhatATextTowerCannotReadIsRefusedOnlyIfThereIsOne) {
  EXPECT_THAT(refusal({"text.max_tokens=600"}),
              HasSubstr("--set text.max_tokens=600: text.max_tokens must be from 3 to max_position_embeddings (512), "
                        "got 600"));
  EXPECT_NO_THROW(load_job({}, {"text.num_attention_heads=3", "model.text_beta=0"}));
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
    if (!job.planned_tables.empty()) continue;  // for rondo plan alone
    EXPECT_TRUE(job.has_schema) << entry.path();
    EXPECT_FALSE(job.data.dataset.empty()) << entry.path();
  }
  EXPECT_GE(jobs, 1);
}

}  // namespace
}  // namespace rondo
