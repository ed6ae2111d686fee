#include "trainer/loop/index_ranker.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "trainer/eval/index_lookup.h"
#include "trainer/model/history_weights.h"
#include "trainer/model/interaction.h"

namespace rondo {

IndexRanker::IndexRanker(Communicator& comm, const ItemIndex& index, const EventLog& events, const ModelOptions& model,
                         const ExampleOptions& examples)
    : comm_(comm), index_(index), events_(events), model_(model), examples_(examples), search_(comm, index.shard) {}

at::Tensor IndexRanker::user_vectors(std::span<const EvaluationCase> cases) {
  const Batch batch = make_inputs(events_, cases, examples_);
  const at::Tensor rows = history_vectors(comm_, index_, batch.history_items);  // [events, dim]
  const at::Tensor alpha = history_weights(batch, model_.user);                 // [events]
  at::Tensor users = at::zeros({batch.size(), rows.size(1)}, at::kDouble);
  for (int64_t user = 0; user < batch.size(); ++user) {
    const int64_t first = batch.history_offsets[static_cast<size_t>(user)];
    const int64_t count = batch.history_offsets[static_cast<size_t>(user) + 1] - first;
    const at::Tensor part = rows.narrow(0, first, count).to(at::kDouble);
    users[user].copy_((part * alpha.narrow(0, first, count).unsqueeze(1)).sum(0));
  }
  return normalized(users, model_.interaction.kind).to(at::kFloat);
}

RankedLists IndexRanker::rank(std::span<const EvaluationCase> cases, int64_t k) {
  std::vector<std::span<const int32_t>> masked;
  for (const auto& one : cases) masked.emplace_back(one.masked);
  return search_.search(user_vectors(cases), masked, k);
}

}  // namespace rondo
