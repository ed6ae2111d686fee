#include "trainer/eval/item_knn.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/number_text.h"
#include "sharding/base/parallel.h"
#include "trainer/eval/shard_search.h"

namespace rondo {
namespace {

/// Neighbours kept at once, 16 bytes each.
constexpr int64_t kNeighboursKept = 6'000'000;

/// Ranges per parallel loop: each has its accumulators, one cell an item.
constexpr int64_t kRanges = 64;

int64_t grain_of(size_t count) { return static_cast<int64_t>(count) / kRanges + 1; }

/// Lists of numbers, one after the other.
struct Lists {
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> values;

  std::span<const int32_t> at(int32_t i) const {
    const auto begin = static_cast<size_t>(offsets[static_cast<size_t>(i)]);
    return {values.data() + begin, static_cast<size_t>(offsets[static_cast<size_t>(i) + 1]) - begin};
  }
};

/// Who has which value, from what each one has: values below `size`, owners ascending.
Lists transposed(const Lists& lists, int64_t size) {
  Lists to;
  to.offsets.assign(static_cast<size_t>(size) + 1, 0);
  for (const int32_t value : lists.values) ++to.offsets[static_cast<size_t>(value) + 1];
  for (size_t i = 1; i < to.offsets.size(); ++i) to.offsets[i] += to.offsets[i - 1];
  to.values.resize(lists.values.size());
  std::vector<int64_t> next = to.offsets;
  for (int32_t owner = 0; owner + 1 < static_cast<int32_t>(lists.offsets.size()); ++owner) {
    for (const int32_t value : lists.at(owner)) {
      to.values[static_cast<size_t>(next[static_cast<size_t>(value)]++)] = owner;
    }
  }
  return to;
}

struct Neighbour {
  int32_t item = 0;
  double weight = 0.0;
};

}  // namespace

/// The distinct (user, item) pairs that are counted.
class ItemKnn::Pairs {
 public:
  Pairs(const EvaluationData& data, FloorCounts counts) {
    const auto& valid = data.split.valid;
    auto held_out = counts == FloorCounts::kTrainAndValid ? valid.begin() : valid.end();
    for (int64_t user = 0; user < data.events.users(); ++user) {
      const auto first = static_cast<std::ptrdiff_t>(items_of_user_.values.size());
      for (auto e = static_cast<size_t>(data.events.user_offsets[static_cast<size_t>(user)]);
           e < static_cast<size_t>(data.events.user_offsets[static_cast<size_t>(user) + 1]); ++e) {
        if (data.split.is_training[e] != 0) items_of_user_.values.push_back(data.events.item[e]);
      }
      for (; held_out != valid.end() && held_out->user == user; ++held_out) {
        items_of_user_.values.insert(items_of_user_.values.end(), held_out->targets.begin(), held_out->targets.end());
      }
      auto mine = std::ranges::subrange(items_of_user_.values.begin() + first, items_of_user_.values.end());
      std::ranges::sort(mine);
      items_of_user_.values.erase(std::ranges::unique(mine).begin(), items_of_user_.values.end());
      items_of_user_.offsets.push_back(static_cast<int64_t>(items_of_user_.values.size()));
    }
    users_of_item_ = transposed(items_of_user_, data.catalog.items());
    for (int32_t item = 0; item < data.catalog.items(); ++item) {
      int64_t additions = 0;
      for (const int32_t user : users_of_item_.at(item)) {
        additions += static_cast<int64_t>(items_of_user_.at(user).size());
      }
      additions_.push_back(additions);
      all_additions_ += additions;
    }
    may_be_found_.assign(static_cast<size_t>(data.catalog.items()), data.candidates().empty() ? 1 : 0);
    for (const int32_t place : data.candidates()) may_be_found_[static_cast<size_t>(place)] = 1;
  }

  int64_t items() const { return static_cast<int64_t>(additions_.size()); }

  /// To count the neighbours of every item.
  int64_t all_additions() const { return all_additions_; }

  /// At least the number of neighbours of an item.
  int64_t most_neighbours(int32_t item) const { return std::min(additions_[static_cast<size_t>(item)], items()); }

  /// Those of `item` that may be found. `counts` [items] is zero before and after.
  std::vector<Neighbour> neighbours(int32_t item, std::vector<int32_t>& counts) const {
    std::vector<Neighbour> found;
    for (const int32_t user : users_of_item_.at(item)) {
      for (const int32_t other : items_of_user_.at(user)) {
        if (counts[static_cast<size_t>(other)]++ == 0) found.push_back({other, 0.0});
      }
    }
    const auto users = static_cast<double>(users_of_item_.at(item).size());
    for (Neighbour& neighbour : found) {
      auto& count = counts[static_cast<size_t>(neighbour.item)];
      const auto others = static_cast<double>(users_of_item_.at(neighbour.item).size());
      neighbour.weight = static_cast<double>(count) / std::sqrt(users * others);
      count = 0;
    }
    std::erase_if(found, [&](const Neighbour& neighbour) {
      return neighbour.item == item || may_be_found_[static_cast<size_t>(neighbour.item)] == 0;
    });
    return found;
  }

 private:
  Lists items_of_user_;                // ascending items
  Lists users_of_item_;                // ascending users
  std::vector<int64_t> additions_;     // [items], to count the neighbours of an item
  std::vector<uint8_t> may_be_found_;  // [items]
  int64_t all_additions_ = 0;
};

/// Neighbours of the items that a block of cases asks for, each counted once.
class ItemKnn::Neighbours {
 public:
  explicit Neighbours(const Pairs& pairs) : pairs_(pairs) {}

  /// Whether the query still fits; the first always does.
  bool add(std::span<const int32_t> query) {
    const size_t before = items_.size();
    int64_t more = 0;
    for (const int32_t item : query) {
      if (std::ranges::binary_search(std::span(items_).first(before), item)) continue;
      items_.push_back(item);
      more += pairs_.most_neighbours(item);
    }
    if (before > 0 && size_ + more > kNeighboursKept) {
      items_.resize(before);
      return false;
    }
    size_ += more;
    std::ranges::inplace_merge(items_, items_.begin() + static_cast<std::ptrdiff_t>(before));
    return true;
  }

  void count() {
    of_item_.resize(items_.size());
    parallel_for(static_cast<int64_t>(items_.size()), grain_of(items_.size()), [&](int64_t begin, int64_t end) {
      std::vector<int32_t> counts(static_cast<size_t>(pairs_.items()), 0);
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        of_item_[i] = pairs_.neighbours(items_[i], counts);
      }
    });
  }

  const std::vector<Neighbour>& of(int32_t item) const {
    return of_item_[static_cast<size_t>(std::ranges::lower_bound(items_, item) - items_.begin())];
  }

 private:
  const Pairs& pairs_;
  std::vector<int32_t> items_;  // ascending
  std::vector<std::vector<Neighbour>> of_item_;
  int64_t size_ = 0;  // most neighbours of all of them
};

void validate(const ItemKnnOptions& options) {
  const auto at_least = [](int64_t least, int64_t value, const char* field) {
    if (value < least) throw ConfigError(concat(field, " must be at least ", least, ", got ", value));
  };
  at_least(0, options.max_items, "item_knn_max_items");
  at_least(0, options.max_work, "item_knn_max_work");
  at_least(1, options.last_items, "item_knn_last_items");
}

ItemKnn::ItemKnn(Communicator& comm, const EvaluationData& data, FloorCounts counts, const ItemKnnOptions& options)
    : comm_(comm), data_(data), counts_(counts), options_(options) {
  validate(options);
}

ItemKnn::~ItemKnn() = default;

std::string ItemKnn::prepare(std::span<const EvaluationCase> cases) {
  if (data_.catalog.items() > options_.max_items) {
    return concat(with_thousands(data_.catalog.items()),
                  " items are more than item_knn_max_items = ", with_thousands(options_.max_items));
  }
  pairs_ = std::make_unique<Pairs>(data_, counts_);
  int64_t work = 0;
  for (const EvaluationCase& one : cases) {
    for (const int32_t item : query(one)) work += pairs_->most_neighbours(item);
  }
  work = sum_of(comm_, work, "work of item_knn") + pairs_->all_additions();
  if (work <= options_.max_work) return {};
  pairs_.reset();
  return concat(with_thousands(work),
                " additions are more than item_knn_max_work = ", with_thousands(options_.max_work));
}

std::vector<int32_t> ItemKnn::query(const EvaluationCase& of) const {
  std::vector<int32_t> items;
  for (auto event = of.history.rbegin(); event != of.history.rend(); ++event) {
    if (static_cast<int64_t>(items.size()) == options_.last_items) break;
    const int32_t item = data_.events.item[static_cast<size_t>(*event)];
    if (std::ranges::find(items, item) == items.end()) items.push_back(item);
  }
  std::ranges::sort(items);
  return items;
}

RankedLists ItemKnn::rank(std::span<const EvaluationCase> cases, int64_t k) {
  RONDO_CHECK(pairs_ != nullptr, "item_knn was not prepared, or will not rank");
  RankedLists lists;
  for (size_t first = 0; first < cases.size();) {
    Neighbours neighbours(*pairs_);
    std::vector<std::vector<int32_t>> queries;
    while (first + queries.size() < cases.size()) {
      auto asked = query(cases[first + queries.size()]);
      if (!neighbours.add(asked)) break;
      queries.push_back(std::move(asked));
    }
    neighbours.count();
    rank_block(cases.subspan(first, queries.size()), queries, neighbours, k, lists);
    first += queries.size();
  }
  return lists;
}

void ItemKnn::rank_block(std::span<const EvaluationCase> cases, const std::vector<std::vector<int32_t>>& queries,
                         const Neighbours& neighbours, int64_t k, RankedLists& lists) const {
  std::vector<std::vector<ScoredItem>> best(cases.size());
  parallel_for(static_cast<int64_t>(cases.size()), grain_of(cases.size()), [&](int64_t begin, int64_t end) {
    std::vector<double> sums(static_cast<size_t>(pairs_->items()), 0.0);
    std::vector<ScoredItem> found;
    for (auto c = static_cast<size_t>(begin); c < static_cast<size_t>(end); ++c) {
      found.clear();
      for (const int32_t item : queries[c]) {
        for (const Neighbour& neighbour : neighbours.of(item)) {
          double& sum = sums[static_cast<size_t>(neighbour.item)];
          if (sum == 0.0) found.push_back({data_.catalog.keys[static_cast<size_t>(neighbour.item)], neighbour.item});
          sum += neighbour.weight;
        }
      }
      for (ScoredItem& item : found) {
        item.score = static_cast<float>(std::exchange(sums[static_cast<size_t>(item.place)], 0.0));
      }
      std::erase_if(found,
                    [&](const ScoredItem& item) { return std::ranges::binary_search(cases[c].masked, item.place); });
      best[c].resize(std::min(found.size(), static_cast<size_t>(k)));
      take_best(found, best[c]);
    }
  });
  for (const auto& items : best) {
    for (const ScoredItem& item : items) {
      lists.places.push_back(item.place);
      lists.scores.push_back(item.score);
    }
    lists.offsets.push_back(static_cast<int64_t>(lists.places.size()));
  }
}

}  // namespace rondo
