#include "trainer/loop/model_ranker.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <vector>

namespace rondo {
namespace {

/// Items or users whose rows are asked for at once: bounds memory.
constexpr int64_t kChunk = 4096;

/// Each item as a target, and as the only event of a history.
Batch batch_of_items(std::span<const int32_t> places) {
  Batch batch;
  batch.positive_offsets = {0};
  batch.history_offsets = {0};
  for (const int32_t place : places) {
    batch.targets.push_back(place);
    batch.examples.push_back(place);
    batch.history_items.push_back(place);
    batch.history_age_days.push_back(0.0F);
    batch.history_behaviours.push_back(kNoBehaviour);
    batch.history_offsets.push_back(batch.size());
    batch.positive_offsets.push_back(0);
  }
  batch.global_size = batch.size();
  return batch;
}

}  // namespace

ModelRanker::ModelRanker(Recommender& recommender, const RecommenderData& data, const ExampleOptions& examples,
                         Communicator& comm, int64_t step, std::span<const int32_t> candidates)
    : recommender_(recommender), data_(data), examples_(examples), comm_(comm), step_(step), candidates_(candidates) {}

ItemVectors ModelRanker::item_vectors(std::span<const int32_t> places) {
  const at::NoGradGuard no_grad;
  const RecommenderModel& model = recommender_.model;
  const StepContext context{recommender_.seed, step_, /*training=*/false};
  const Batch batch = batch_of_items(places);
  const RoutedIds routed = recommender_.embedding.route(model.ids(batch), LookupMode::kEvaluate);
  const std::vector<TableRows> tables = recommender_.embedding.forward(routed, step_ + 1);
  const BatchRows rows{routed, tables};
  return {model.normalized(model.item_vectors(batch, rows, context)).to(at::kFloat),
          model.user_vectors(batch, rows, context).to(at::kFloat)};
}

std::string ModelRanker::prepare(std::span<const EvaluationCase>) {
  recommender_.model.refresh_text_vectors(recommender_.embedding, {recommender_.seed, step_, false});
  index_ = build_item_index(
      comm_, data_.catalog, {}, [this](std::span<const int32_t> places) { return item_vectors(places); }, kChunk);
  offer(candidates_);
  return {};
}

void ModelRanker::offer(std::span<const int32_t> candidates) {
  candidates_ = candidates;
  if (!candidates_.empty()) candidate_shard_ = restrict_to(index_.shard, candidates_);
  search_ = std::make_unique<ShardedTopK>(comm_, candidates_.empty() ? index_.shard : candidate_shard_);
}

at::Tensor ModelRanker::user_vectors(std::span<const EvaluationCase> cases) {
  const at::NoGradGuard no_grad;
  const RecommenderModel& model = recommender_.model;
  const StepContext context{recommender_.seed, step_, /*training=*/false};
  const auto count = static_cast<int64_t>(cases.size());
  const int64_t chunks = (largest_of(comm_, count, "users of a rank") + kChunk - 1) / kChunk;
  std::vector<at::Tensor> vectors;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t first = std::min(chunk * kChunk, count), last = std::min(first + kChunk, count);
    const auto part = cases.subspan(static_cast<size_t>(first), static_cast<size_t>(last - first));
    const Batch batch = make_inputs(data_.events, part, examples_);
    const RoutedIds routed = recommender_.embedding.route(model.ids(batch), LookupMode::kEvaluate);
    const std::vector<TableRows> tables = recommender_.embedding.forward(routed, step_ + 1);
    vectors.push_back(model.normalized(model.user_vectors(batch, {routed, tables}, context)).to(at::kFloat));
  }
  return vectors.empty() ? at::empty({0, recommender_.model.options().dim}, at::kFloat) : at::cat(vectors);
}

RankedLists ModelRanker::rank(std::span<const EvaluationCase> cases, int64_t k) {
  std::vector<std::span<const int32_t>> masked;
  for (const auto& one : cases) masked.emplace_back(one.masked);
  return search_->search(user_vectors(cases), masked, k);
}

}  // namespace rondo
