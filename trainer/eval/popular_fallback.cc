#include "trainer/eval/popular_fallback.h"

namespace rondo {

RankedLists PopularFallback::rank(std::span<const EvaluationCase> cases, int64_t k) {
  const RankedLists by_model = model_.rank(cases, k);
  RankedLists lists;
  for (size_t i = 0; i < cases.size(); ++i) {
    const bool is_known = !cases[i].history.empty();
    const RankedLists popular = is_known ? RankedLists{} : popular_.rank(cases.subspan(i, 1), k);
    const RankedLists& from = is_known ? by_model : popular;
    const int64_t list = is_known ? static_cast<int64_t>(i) : 0;
    lists.places.insert(lists.places.end(), from.list(list).begin(), from.list(list).end());
    lists.scores.insert(lists.scores.end(), from.list_scores(list).begin(), from.list_scores(list).end());
    lists.offsets.push_back(static_cast<int64_t>(lists.places.size()));
  }
  return lists;
}

}  // namespace rondo
