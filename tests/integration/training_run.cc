#include "tests/integration/training_run.h"

#include <ATen/TensorOperators.h>

#include <algorithm>

#include "tests/support/tiny_shop.h"
#include "trainer/loop/recommender.h"
#include "trainer/loop/recommender_task.h"
#include "trainer/loop/train_loop.h"

namespace rondo::testing {
namespace {

double largest(const at::Tensor& values) { return values.numel() == 0 ? 0.0 : values.abs().max().item<double>(); }

void compare(const std::string& name, const at::Tensor& got, const at::Tensor& expected, Deviation& worst) {
  const double scale = std::max(largest(expected), 1e-30);
  const double value = largest(got.to(at::kDouble) - expected.to(at::kDouble)) / scale;
  if (!(value <= worst.value)) worst = {value, name};
}

}  // namespace

TrainingRunOptions tiny_run(at::ScalarType dtype, Placement placement, RowOptimizerKind rows,
                            DenseOptimizerKind dense) {
  TrainingRunOptions options;
  ModelOptions& model = options.model;
  model.dim = 8;
  model.dtype = dtype;
  model.item.id_dropout = 0.3;
  model.user.weight = HistoryWeight::kTimeDecay;
  model.user.behaviour_weights = {1.0, 2.0};
  model.user.history_text = true;
  model.interaction.temperature = 0.2;
  model.text.hidden_size = 16;
  model.text.num_attention_heads = 2;
  model.text.intermediate_size = 32;
  model.text.num_hidden_layers = 2;
  model.text_refresh_steps = 7;
  model.item_table.buckets = 64;
  model.item_table.placement = placement;
  model.item_table.optimizer.kind = rows;
  model.item_table.optimizer.learning_rate = 0.05;
  model.bag_table = model.item_table;
  options.train.steps = options.steps;
  options.train.global_batch = 10;  // world 7: shares of 1 or 2; the last batch of an epoch leaves ranks empty
  options.train.dense_optimizer = dense;
  options.train.adam_w.learning_rate = dense == DenseOptimizerKind::kSgd ? 0.05 : 1e-3;
  options.train.schedule.warmup_steps = 5;
  return options;
}

TrainingRun collect(Recommender& recommender, const DenseOptimizer* optimizer) {
  TrainingRun run;
  for (const auto& entry : checkpoint_content(recommender, optimizer).dense)
    run.dense[entry.name] = entry.value.clone();
  for (int64_t t = 0; t < recommender.embedding.tables(); ++t) {
    const RowStore& store = recommender.embedding.store(t);
    for (int64_t bucket = store.range().first; bucket < store.range().last; ++bucket) {
      const BucketRows rows = store.export_bucket(bucket);
      for (size_t i = 0; i < rows.keys.size(); ++i) {
        const auto row = static_cast<int64_t>(i);
        auto& entry = run.rows[store.spec().name][rows.keys[i]];
        entry = {rows.values[row].clone(), rows.state[row].clone(), rows.versions[i]};
      }
    }
  }
  return run;
}

TrainingRun run_training(Communicator& comm, const TrainingRunOptions& options) {
  const TinyShop shop;
  RecommenderData data{shop.catalog, shop.events, {}, shop.split, shop.tokens, TinyShop::kVocabulary, ""};
  Recommender recommender(options.model, data, options.seed, comm);
  RecommenderTask task(options.train, {}, data, recommender, comm);
  TrainLoop loop(options.train, task, comm);
  std::vector<double> losses;
  TrainHooks hooks;
  hooks.on_step = [&](const StepReport& report) { losses.push_back(report.result.loss); };
  loop.run(hooks);
  TrainingRun run = collect(recommender, &task.optimizer());
  run.losses = std::move(losses);
  return run;
}

Deviation deviation(const TrainingRun& got, const TrainingRun& expected) {
  Deviation worst;
  for (const auto& [name, value] : got.dense) {
    const bool key_bias = name.find(".key.bias") != std::string::npos;  // its exact gradient is zero (DESIGN 3)
    if (!key_bias) compare(name, value, expected.dense.at(name), worst);
  }
  for (const auto& [table, rows] : got.rows) {
    // Per tensor: the largest difference of any row over the largest value of the table.
    double scale[2] = {1e-30, 1e-30}, difference[2] = {0, 0};
    for (const auto& [key, row] : rows) {
      const auto& other = expected.rows.at(table).at(key);
      if (row.version != other.version) worst = {1.0, table + ": version of a row"};
      const std::pair<at::Tensor, at::Tensor> parts[2] = {{row.values, other.values}, {row.state, other.state}};
      for (int part = 0; part < 2; ++part) {
        scale[part] = std::max(scale[part], largest(parts[part].second));
        difference[part] = std::max(difference[part], largest(parts[part].first - parts[part].second));
      }
    }
    for (int part = 0; part < 2; ++part) {
      const double value = difference[part] / scale[part];
      if (!(value <= worst.value)) worst = {value, table + (part == 0 ? " values" : " state")};
    }
  }
  return worst;
}

}  // namespace rondo::testing
