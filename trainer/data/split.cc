#include "trainer/data/split.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include "sharding/base/check.h"
#include "trainer/data/held_out.h"

namespace rondo {
namespace {

void sort_distinct(std::vector<int32_t>& items) {
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
}

/// Builds the evaluation cases from the roles of events. Its buffers serve one case after the other.
class CaseBuilder {
 public:
  CaseBuilder(const EventLog& events, const SplitOptions& options, std::span<const uint8_t> roles, Split& split)
      : events_(events), options_(options), roles_(roles), split_(split) {}

  /// Adds the case of `user` whose targets have the role `target`, if there is something to find. `cut` is where a
  /// global time split cuts.
  void add(int64_t user, Role target, int64_t cut, std::vector<EvaluationCase>& cases) {
    collect(user, target);
    if (targets_.empty()) return;
    EvaluationCase found;
    found.time = time_of_case(cut);
    sort_distinct(targets_);
    sort_distinct(masked_);
    if (options_.repeats == Repeats::kDrop) {
      drop_repeats();
      found.masked = masked_;
    }
    if (targets_.empty()) return;
    found.user = user;
    found.history = history_;
    found.targets = targets_;
    split_.users_without_history += history_.empty() ? 1 : 0;
    cases.push_back(std::move(found));
  }

 private:
  void collect(int64_t user, Role target) {
    const uint8_t seen = target == Role::kTestTarget ? as_bit(Role::kSeenByTest) : as_bit(Role::kSeenByValid);
    history_.clear();
    targets_.clear();
    masked_.clear();
    const auto begin = static_cast<size_t>(events_.user_offsets[static_cast<size_t>(user)]);
    const auto end = static_cast<size_t>(events_.user_offsets[static_cast<size_t>(user) + 1]);
    for (size_t e = begin; e < end; ++e) {
      if (roles_[e] & as_bit(target)) {
        if (targets_.empty()) first_target_time_ = events_.time[e];
        targets_.push_back(events_.item[e]);
      } else if (roles_[e] & seen) {
        history_.push_back(static_cast<int64_t>(e));
        masked_.push_back(events_.item[e]);
      }
    }
  }

  int64_t time_of_case(int64_t cut) const {
    if (options_.kind == SplitKind::kGlobalTime) return cut;
    if (options_.kind == SplitKind::kRandom && !history_.empty()) {
      return events_.time[static_cast<size_t>(history_.back())] + 1;
    }
    return first_target_time_;
  }

  void drop_repeats() {
    split_.dropped_repeats += static_cast<int64_t>(std::erase_if(
        targets_, [&](int32_t item) { return std::binary_search(masked_.begin(), masked_.end(), item); }));
  }

  const EventLog& events_;
  const SplitOptions& options_;
  std::span<const uint8_t> roles_;
  Split& split_;
  std::vector<int64_t> history_;
  std::vector<int32_t> targets_;
  std::vector<int32_t> masked_;
  int64_t first_target_time_ = 0;
};

void check_events(const EventLog& events, const Catalog& catalog) {
  RONDO_CHECK_EQ(events.user_offsets.size(), events.user_keys.size() + 1);
  RONDO_CHECK_EQ(events.user_offsets.back(), events.events());
  RONDO_CHECK_EQ(events.time.size(), events.item.size());
  RONDO_CHECK(events.basket.empty() || events.basket.size() == events.item.size(), events.basket.size(), " baskets");
  for (int64_t user = 0; user < events.users(); ++user) {
    const auto begin = events.time.begin() + events.user_offsets[static_cast<size_t>(user)];
    const auto end = events.time.begin() + events.user_offsets[static_cast<size_t>(user) + 1];
    RONDO_CHECK(std::is_sorted(begin, end), "user ", user, " is not in order of time");
  }
  for (const int32_t item : events.item) RONDO_CHECK(item >= 0 && item < catalog.items(), "item ", item);
}

/// Places whose first event is before `end`, or that have none; empty if that is every place.
std::vector<int32_t> known_before(const EventLog& events, int64_t items, int64_t end) {
  constexpr int64_t kNever = std::numeric_limits<int64_t>::min();
  std::vector<int64_t> first_seen(static_cast<size_t>(items), kNever);
  for (size_t e = 0; e < events.item.size(); ++e) {
    int64_t& first = first_seen[static_cast<size_t>(events.item[e])];
    if (first == kNever || events.time[e] < first) first = events.time[e];
  }
  std::vector<int32_t> known;
  for (int64_t item = 0; item < items; ++item) {
    if (first_seen[static_cast<size_t>(item)] < end) known.push_back(static_cast<int32_t>(item));
  }
  if (static_cast<int64_t>(known.size()) == items) known.clear();
  return known;
}

void fill_training(const EventLog& events, const Catalog& catalog, Split& split) {
  split.training_counts.assign(static_cast<size_t>(catalog.items()), 0);
  split.training_targets.reserve(
      static_cast<size_t>(std::accumulate(split.is_training.begin(), split.is_training.end(), int64_t{0})));
  for (size_t e = 0; e < split.is_training.size(); ++e) {
    if (split.is_training[e] == 0) continue;
    split.training_targets.push_back(static_cast<int64_t>(e));
    ++split.training_counts[static_cast<size_t>(events.item[e])];
  }
}

}  // namespace

const char* name_of(SplitKind kind) {
  switch (kind) {
    case SplitKind::kRandom:
      return "random";
    case SplitKind::kLeaveOneOut:
      return "leave-one-out";
    case SplitKind::kLastBasketOut:
      return "last-basket-out";
    case SplitKind::kGlobalTime:
      return "global-time";
  }
  return "";
}

void validate(const SplitOptions& options) {
  const auto check_fraction = [](double value, const char* field) {
    if (!(value >= 0.0 && value < 1.0)) throw ConfigError(concat(field, " must be in [0, 1), got ", value));
  };
  check_fraction(options.valid_fraction, "valid_fraction");
  check_fraction(options.test_fraction, "test_fraction");
  const double held_out = options.valid_fraction + options.test_fraction;
  if (held_out >= 1.0) throw ConfigError(concat("valid_fraction + test_fraction must be below 1, got ", held_out));
  if (options.min_user_events < 1) {
    throw ConfigError(concat("min_user_events must be 1 or more, got ", options.min_user_events));
  }
}

Split make_split(const EventLog& events, const Catalog& catalog, const SplitOptions& options) {
  validate(options);
  check_events(events, catalog);
  Split split;
  TimeCuts cuts;
  std::vector<uint8_t> roles = assign_roles(events, options, cuts);
  CaseBuilder builder(events, options, roles, split);
  for (int64_t user = 0; user < events.users(); ++user) {
    builder.add(user, Role::kValidTarget, cuts.valid, split.valid);
    builder.add(user, Role::kTestTarget, cuts.test, split.test);
  }
  if (options.kind == SplitKind::kGlobalTime && options.valid_fraction > 0.0 && events.events() > 0) {
    split.valid_candidates = known_before(events, catalog.items(), cuts.test);
  }
  for (uint8_t& role : roles) role &= as_bit(Role::kTrains);
  split.is_training = std::move(roles);
  fill_training(events, catalog, split);
  return split;
}

}  // namespace rondo
