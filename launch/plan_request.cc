#include "launch/plan_request.h"

#include <algorithm>
#include <unordered_set>

#include "sharding/base/check.h"
#include "trainer/data/examples.h"

namespace rondo {
namespace {

constexpr int kSampledBatches = 4;

/// Ids and distinct ids of each table, summed over batches.
struct IdCounts {
  double examples = 0;
  std::vector<double> ids, distinct;  // [tables]
};

void count_ids(const RecommenderModel& model, const Batch& batch, IdCounts& counts) {
  const std::vector<TableIds> tables = model.ids(batch);
  counts.ids.resize(tables.size());
  counts.distinct.resize(tables.size());
  counts.examples += static_cast<double>(batch.size());
  for (size_t t = 0; t < tables.size(); ++t) {
    const auto* const keys = tables[t].keys.const_data_ptr<int64_t>();
    const auto n = static_cast<size_t>(tables[t].keys.numel());
    counts.ids[t] += static_cast<double>(n);
    counts.distinct[t] += static_cast<double>(std::unordered_set<int64_t>(keys, keys + n).size());
  }
}

/// The first shares of a few batches of an epoch, as rank 0 of `world` gets them.
IdCounts sample(const TrainingExamples& examples, const RecommenderModel& model, int64_t global_batch, int world) {
  IdCounts counts;
  DataCursor cursor;
  for (int i = 0; i < kSampledBatches && cursor.epoch == 0; ++i) {
    count_ids(model, examples.next(cursor, global_batch, 0, world), counts);
  }
  return counts;
}

/// A point of the curve of distinct ids: the average of the sampled batches.
DistinctPoint point_of(const IdCounts& counts, size_t table) {
  return {counts.ids[table] / kSampledBatches, counts.distinct[table] / kSampledBatches};
}

TableStatistics statistics_of(const IdCounts& share, const IdCounts& whole, size_t table) {
  TableStatistics statistics;
  if (whole.ids[table] == 0.0) return {.ids_per_example = 0, .bags_per_example = 0};
  statistics.ids_per_example = whole.ids[table] / whole.examples;
  statistics.bags_per_example = 2;  // the target and the history
  for (const DistinctPoint& point : {point_of(share, table), point_of(whole, table)}) {
    const bool further = statistics.measured.empty() || point.ids > statistics.measured.back().ids;
    if (point.ids > 0.0 && further) statistics.measured.push_back(point);
  }
  return statistics;
}

/// Rows that a table of the model has over the dataset: items, but for the features' tables.
int64_t rows_of(const RecommenderData& data, const std::string& table) {
  for (const BagColumn& bag : data.catalog.bags) {
    if (table == "item." + bag.name) {
      return static_cast<int64_t>(std::unordered_set<uint64_t>(bag.keys.begin(), bag.keys.end()).size());
    }
  }
  return data.catalog.items();
}

/// Weights of the dense parameters, gradients and two moments of those that learn. 6 flops a weight and token: forward
/// 2, backward 4; word vectors are looked up, not multiplied.
DenseWork dense_work(const RecommenderData& data, const RecommenderModel& model, double rank_batch) {
  double weights = 0.0, bytes = 0.0, multiplied = 0.0;
  for (const NamedParameter& parameter : model.parameters()) weights += static_cast<double>(parameter.value.nbytes());
  for (const NamedParameter& parameter : model.learning_parameters()) {
    bytes += static_cast<double>(parameter.value.nbytes());
    if (parameter.name.find("word_embeddings") == std::string::npos) {
      multiplied += static_cast<double>(parameter.value.numel());
    }
  }
  const auto items = static_cast<double>(std::max<int64_t>(1, data.catalog.items()));
  const double tokens = rank_batch * static_cast<double>(data.tokens.tokens.size()) / items;
  return {.gradient_bytes = bytes, .memory_bytes = weights + 3 * bytes, .flops = 6 * multiplied * tokens};
}

/// The text-vector table stays row-wise: who owns a row encodes its text.
bool is_automatic(const JobOptions& job, const TableSpec& spec) {
  if (spec.optimizer.kind == RowOptimizerKind::kNone) return false;
  return spec.name == "item" ? job.places_items : job.places_categories;
}

PlanRequest empty_request(const JobOptions& job, const PlanPlace& place) {
  PlanRequest request;
  request.world = place.world;
  request.global_batch = job.train.global_batch;
  request.profile = place.profile;
  return request;
}

}  // namespace

PlanRequest request_of_listed_tables(const JobOptions& job, const PlanPlace& place) {
  PlanRequest request = empty_request(job, place);
  request.tables = job.planned_tables;
  return request;
}

PlanRequest request_of_model(const JobOptions& job, const RecommenderData& data, const RecommenderModel& model,
                             const PlanPlace& place) {
  PlanRequest request = empty_request(job, place);
  const TrainingExamples examples(data.events, data.split, job.examples, job.seed);
  const int64_t batch = std::min(job.train.global_batch, examples.size());
  const IdCounts share = sample(examples, model, batch, place.world), whole = sample(examples, model, batch, 1);
  for (size_t t = 0; t < model.tables().size(); ++t) {
    TableRequest table;
    table.spec = model.tables()[t];
    table.spec.rows = std::max(table.spec.rows, rows_of(data, table.spec.name));
    table.statistics = statistics_of(share, whole, t);
    if (!is_automatic(job, table.spec)) table.allowed = {table.spec.placement};
    request.tables.push_back(std::move(table));
  }
  request.dense = dense_work(data, model, static_cast<double>(batch) / place.world);
  return request;
}

}  // namespace rondo
