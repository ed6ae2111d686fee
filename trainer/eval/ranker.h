#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "trainer/data/split.h"

namespace rondo {

/// One list of items a case, best first, one after the other.
struct RankedLists {
  std::vector<int64_t> offsets{0};  // [lists + 1]
  std::vector<int32_t> places;      // [offsets[lists]]
  std::vector<float> scores;        // as places: what the list is ordered by, descending; ties by row key, ascending

  int64_t size() const { return static_cast<int64_t>(offsets.size()) - 1; }

  std::span<const int32_t> list(int64_t i) const {
    const auto begin = static_cast<size_t>(offsets[static_cast<size_t>(i)]);
    const auto end = static_cast<size_t>(offsets[static_cast<size_t>(i) + 1]);
    return {places.data() + begin, end - begin};
  }
  std::span<const float> list_scores(int64_t i) const {
    const auto begin = static_cast<size_t>(offsets[static_cast<size_t>(i)]);
    const auto end = static_cast<size_t>(offsets[static_cast<size_t>(i) + 1]);
    return {scores.data() + begin, end - begin};
  }
};

/// What recommends items to users: the model, and the floors it must be above. Knows nothing of the held-out items.
class Ranker {
 public:
  virtual ~Ranker() = default;

  /// As in metrics.jsonl: "rondo", "pop", "item_knn".
  virtual std::string name() const = 0;

  /// What its counts were made from ("train", "train+valid"); empty for a model.
  virtual std::string counts() const { return {}; }

  /// Prepares to rank `cases`, this rank's. Returns why it will not (too much work), the same on every rank; empty: it
  /// will. Collective.
  virtual std::string prepare(std::span<const EvaluationCase> /*cases*/) { return {}; }

  /// At most k items for each of `cases` (this rank's; there may be none), none of them masked, all of them candidates.
  /// Shorter where it has nothing more to say. Does not look at `targets`. Collective.
  virtual RankedLists rank(std::span<const EvaluationCase> cases, int64_t k) = 0;
};

}  // namespace rondo
