#include "trainer/eval/popularity.h"

#include <algorithm>
#include <numeric>

namespace rondo {

Popularity::Popularity(const EvaluationData& data, FloorCounts counts) : counts_(counts) {
  std::vector<int64_t> count = data.split.training_counts;
  if (counts == FloorCounts::kTrainAndValid) {
    for (const EvaluationCase& held_out : data.split.valid) {
      for (const int32_t target : held_out.targets) ++count[static_cast<size_t>(target)];
    }
  }
  order_.assign(data.candidates().begin(), data.candidates().end());
  if (order_.empty()) {
    order_.resize(static_cast<size_t>(data.catalog.items()));
    std::iota(order_.begin(), order_.end(), 0);
  }
  const auto& keys = data.catalog.keys;
  std::ranges::sort(order_, [&](int32_t a, int32_t b) {
    const auto x = static_cast<size_t>(a), y = static_cast<size_t>(b);
    return count[x] != count[y] ? count[x] > count[y] : keys[x] < keys[y];
  });
  for (const int32_t place : order_) scores_.push_back(static_cast<float>(count[static_cast<size_t>(place)]));
}

RankedLists Popularity::rank(std::span<const EvaluationCase> cases, int64_t k) {
  RankedLists lists;
  for (const EvaluationCase& one : cases) {
    int64_t taken = 0;
    for (size_t at = 0; at < order_.size() && taken < k; ++at) {
      if (std::ranges::binary_search(one.masked, order_[at])) continue;
      lists.places.push_back(order_[at]);
      lists.scores.push_back(scores_[at]);
      ++taken;
    }
    lists.offsets.push_back(static_cast<int64_t>(lists.places.size()));
  }
  return lists;
}

}  // namespace rondo
