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

Batch batch_of_items(int32_t begin, int32_t end) {
  Batch batch;
  batch.positive_offsets = {0};
  batch.history_offsets = {0};
  for (int32_t place = begin; place < end; ++place) {
    batch.targets.push_back(place);
    batch.examples.push_back(place);
    batch.history_offsets.push_back(0);
    batch.positive_offsets.push_back(0);
  }
  batch.global_size = batch.size();
  return batch;
}

}  // namespace

ModelRanker::ModelRanker(Recommender& recommender, const RecommenderData& data, const ExampleOptions& examples,
                         Communicator& comm, int64_t step, std::span<const int32_t> candidates)
    : recommender_(recommender), data_(data), examples_(examples), comm_(comm), step_(step), candidates_(candidates) {}

at::Tensor ModelRanker::vectors_of(const Batch& batch, bool items) {
  const at::NoGradGuard no_grad;
  const StepContext context{recommender_.seed, step_, /*training=*/false};
  auto& embedding = recommender_.embedding;
  const RoutedIds routed = embedding.route(recommender_.model.ids(batch), LookupMode::kEvaluate);
  const std::vector<TableRows> tables = embedding.forward(routed, step_ + 1);
  const BatchRows rows{routed, tables};
  const auto& model = recommender_.model;
  const at::Tensor vectors =
      items ? model.item_vectors(batch, rows, context) : model.user_vectors(batch, rows, context);
  return model.normalized(vectors).to(at::kFloat);
}

std::string ModelRanker::prepare(std::span<const EvaluationCase>) {
  recommender_.model.refresh_text_vectors(recommender_.embedding, {recommender_.seed, step_, false});
  const int64_t items = data_.catalog.items();
  const int64_t begin = items * comm_.rank() / comm_.size(), end = items * (comm_.rank() + 1) / comm_.size();
  const int64_t chunks = (largest_of(comm_, end - begin, "items of a rank") + kChunk - 1) / kChunk;
  std::vector<at::Tensor> vectors;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t first = std::min(begin + chunk * kChunk, end), last = std::min(first + kChunk, end);
    vectors.push_back(vectors_of(batch_of_items(static_cast<int32_t>(first), static_cast<int32_t>(last)), true));
  }
  shard_.vectors = vectors.empty() ? at::empty({0, recommender_.model.options().dim}, at::kFloat) : at::cat(vectors);
  shard_.places.clear();
  shard_.keys.clear();
  for (int64_t place = begin; place < end; ++place) {
    shard_.places.push_back(static_cast<int32_t>(place));
    shard_.keys.push_back(data_.catalog.keys[static_cast<size_t>(place)]);
  }
  shard_ = restrict_to(std::move(shard_), candidates_);
  search_ = std::make_unique<ShardedTopK>(comm_, shard_);
  return {};
}

at::Tensor ModelRanker::user_vectors(std::span<const EvaluationCase> cases) {
  const auto count = static_cast<int64_t>(cases.size());
  const int64_t chunks = (largest_of(comm_, count, "users of a rank") + kChunk - 1) / kChunk;
  std::vector<at::Tensor> vectors;
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t first = std::min(chunk * kChunk, count), last = std::min(first + kChunk, count);
    const auto part = cases.subspan(static_cast<size_t>(first), static_cast<size_t>(last - first));
    vectors.push_back(vectors_of(make_inputs(data_.events, part, examples_), false));
  }
  return vectors.empty() ? at::empty({0, recommender_.model.options().dim}, at::kFloat) : at::cat(vectors);
}

RankedLists ModelRanker::rank(std::span<const EvaluationCase> cases, int64_t k) {
  std::vector<std::span<const int32_t>> masked;
  for (const auto& one : cases) masked.emplace_back(one.masked);
  return search_->search(user_vectors(cases), masked, k);
}

}  // namespace rondo
