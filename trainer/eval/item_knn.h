#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/eval/evaluation_data.h"
#include "trainer/eval/ranker.h"

namespace rondo {

struct ItemKnnOptions {
  /// Above this number of items it is skipped, and said to be.
  int64_t max_items = 200'000;

  /// Nor does it do more than so many additions (over all ranks); 10^10 are about a minute of one core.
  int64_t max_work = 20'000'000'000;

  /// How many of a user's latest items are asked for their neighbours.
  int64_t last_items = 5;
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const ItemKnnOptions& options);

/// The floor "item_knn" (recsys_systems 7.3): score(j) = sum over the latest distinct items i of the history, i other
/// than j, of |U_i and U_j| / sqrt(|U_i| |U_j|), with U_i the distinct users that had i. Sums are in fp64 over
/// ascending places i and rounded to fp32; ties by row key, ascending. An item that shares no user with the query is
/// not in the list, so lists may be short and, without a history, empty.
class ItemKnn final : public Ranker {
 public:
  /// Keeps references to `comm` and to what `data` refers to.
  ItemKnn(Communicator& comm, const EvaluationData& data, FloorCounts counts, const ItemKnnOptions& options = {});
  ~ItemKnn() override;

  std::string name() const override { return "item_knn"; }
  std::string counts() const override { return name_of(counts_); }

  /// Counts users and items, unless it is too much work.
  std::string prepare(std::span<const EvaluationCase> cases) override;
  RankedLists rank(std::span<const EvaluationCase> cases, int64_t k) override;

 private:
  class Pairs;
  class Neighbours;

  /// The latest distinct items of a history, ascending.
  std::vector<int32_t> query(const EvaluationCase& of) const;

  void rank_block(std::span<const EvaluationCase> cases, const std::vector<std::vector<int32_t>>& queries,
                  const Neighbours& neighbours, int64_t k, RankedLists& lists) const;

  Communicator& comm_;
  EvaluationData data_;
  FloorCounts counts_;
  ItemKnnOptions options_;
  std::unique_ptr<Pairs> pairs_;
};

}  // namespace rondo
