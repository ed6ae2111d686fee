#include "trainer/data/split.h"

#include <algorithm>
#include <limits>

#include "sharding/base/check.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

enum class Part : uint8_t { kTraining, kValid, kTest };

struct UserRange {
  int64_t begin = 0;
  int64_t end = 0;
};

UserRange range_of(const EventLog& events, int64_t user) {
  return {events.user_offsets[static_cast<size_t>(user)], events.user_offsets[static_cast<size_t>(user) + 1]};
}

int64_t distinct_items(const EventLog& events, UserRange range) {
  std::vector<int32_t> items(events.item.begin() + range.begin, events.item.begin() + range.end);
  std::sort(items.begin(), items.end());
  return std::unique(items.begin(), items.end()) - items.begin();
}

/// First event of the basket that ends before `end`.
int64_t basket_begin(const EventLog& events, UserRange range, int64_t end) {
  int64_t begin = end;
  while (begin > range.begin &&
         events.basket[static_cast<size_t>(begin) - 1] == events.basket[static_cast<size_t>(end) - 1]) {
    --begin;
  }
  // The history is strictly earlier: events at the basket's first time stay with it.
  while (begin > range.begin && begin < end &&
         events.time[static_cast<size_t>(begin) - 1] == events.time[static_cast<size_t>(begin)]) {
    --begin;
  }
  return begin;
}

/// Assigns a part to every event.
class PartAssigner {
 public:
  PartAssigner(const EventLog& events, const SplitOptions& options)
      : events_(events), options_(options), parts_(static_cast<size_t>(events.events()), Part::kTraining) {
    if (options.kind == SplitKind::kGlobalTime) find_cuts();
    for (int64_t user = 0; user < events.users(); ++user) assign_user(user);
  }

  const std::vector<Part>& parts() const { return parts_; }

 private:
  /// The cuts lie between timestamps: events at the cut's own time are behind it.
  void find_cuts() {
    std::vector<int64_t> times = events_.time;
    const auto cut = [&](double fraction) {
      const auto place = std::min(static_cast<size_t>(static_cast<double>(times.size()) * fraction), times.size() - 1);
      std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(place), times.end());
      return times[place];
    };
    if (times.empty()) return;
    valid_cut_ = cut(1.0 - options_.valid_fraction - options_.test_fraction);
    test_cut_ = cut(1.0 - options_.test_fraction);
  }

  void assign_user(int64_t user) {
    const UserRange range = range_of(events_, user);
    if (options_.kind == SplitKind::kGlobalTime) {
      for (int64_t e = range.begin; e < range.end; ++e) part(e) = part_by_time(events_.time[static_cast<size_t>(e)]);
      return;
    }
    if (distinct_items(events_, range) < options_.min_user_events) return;
    switch (options_.kind) {
      case SplitKind::kLeaveOneOut:
        part(range.end - 1) = Part::kTest;
        part(range.end - 2) = Part::kValid;
        return;
      case SplitKind::kLastBasketOut:
        assign_baskets(range);
        return;
      default:
        assign_by_chance(user, range);
    }
  }

  Part part_by_time(int64_t time) const {
    return time >= test_cut_ ? Part::kTest : time >= valid_cut_ ? Part::kValid : Part::kTraining;
  }

  /// The last basket is test, the one before it valid; a user needs a basket before each to have a history.
  void assign_baskets(UserRange range) {
    const int64_t test = basket_begin(events_, range, range.end);
    if (test == range.begin) return;
    for (int64_t e = test; e < range.end; ++e) part(e) = Part::kTest;
    const int64_t valid = basket_begin(events_, range, test);
    if (valid == range.begin) return;
    for (int64_t e = valid; e < test; ++e) part(e) = Part::kValid;
  }

  void assign_by_chance(int64_t user, UserRange range) {
    const CounterRandom random(options_.seed, 0, RandomPurpose::kSplit);
    const uint64_t key = events_.user_keys[static_cast<size_t>(user)];
    for (int64_t e = range.begin; e < range.end; ++e) {
      const double draw = random.uniform(key, static_cast<uint64_t>(e - range.begin));
      if (draw < options_.test_fraction) {
        part(e) = Part::kTest;
      } else if (draw < options_.test_fraction + options_.valid_fraction) {
        part(e) = Part::kValid;
      }
    }
  }

  Part& part(int64_t event) { return parts_[static_cast<size_t>(event)]; }

  const EventLog& events_;
  const SplitOptions& options_;
  std::vector<Part> parts_;
  int64_t valid_cut_ = std::numeric_limits<int64_t>::max();
  int64_t test_cut_ = std::numeric_limits<int64_t>::max();
};

/// Builds the cases of one part from the assignment.
class CaseBuilder {
 public:
  CaseBuilder(const EventLog& events, const SplitOptions& options, const std::vector<Part>& parts)
      : events_(events), options_(options), parts_(parts) {}

  /// Test sees training and valid, valid sees training; by time, only what is before the cut.
  bool is_history(int64_t event, Part of) const {
    const Part part = parts_[static_cast<size_t>(event)];
    return part == Part::kTraining || (of == Part::kTest && part == Part::kValid);
  }

  /// Adds the user's case of `of` if there is something to find.
  void add(int64_t user, Part of, Split& split, std::vector<EvaluationCase>& cases) const {
    const UserRange range = range_of(events_, user);
    EvaluationCase found;
    found.user = user;
    int64_t first_target = -1;
    for (int64_t e = range.begin; e < range.end; ++e) {
      if (parts_[static_cast<size_t>(e)] == of) {
        if (first_target < 0) first_target = e;
        found.targets.push_back(events_.item[static_cast<size_t>(e)]);
      } else if (is_history(e, of)) {
        found.history.push_back(e);
        found.masked.push_back(events_.item[static_cast<size_t>(e)]);
      }
    }
    if (first_target < 0) return;
    found.time = events_.time[static_cast<size_t>(first_target)];
    sort_distinct(found.targets);
    sort_distinct(found.masked);
    if (options_.repeats == Repeats::kDrop) {
      split.dropped_repeats += static_cast<int64_t>(std::erase_if(found.targets, [&](int32_t item) {
        return std::binary_search(found.masked.begin(), found.masked.end(), item);
      }));
    } else {
      found.masked.clear();
    }
    if (found.targets.empty()) return;
    if (found.history.empty()) ++split.users_without_history;
    cases.push_back(std::move(found));
  }

 private:
  static void sort_distinct(std::vector<int32_t>& items) {
    std::sort(items.begin(), items.end());
    items.erase(std::unique(items.begin(), items.end()), items.end());
  }

  const EventLog& events_;
  const SplitOptions& options_;
  const std::vector<Part>& parts_;
};

}  // namespace

void validate(const SplitOptions& options) {
  const auto fraction = [](double value, const char* field) {
    if (!(value >= 0.0 && value < 1.0)) throw ConfigError(concat(field, " must be in [0, 1), got ", value));
  };
  fraction(options.valid_fraction, "valid_fraction");
  fraction(options.test_fraction, "test_fraction");
  if (options.valid_fraction + options.test_fraction >= 1.0) {
    throw ConfigError(
        concat("valid_fraction + test_fraction must be below 1, got ", options.valid_fraction + options.test_fraction));
  }
  if (options.min_user_events < 3) {
    throw ConfigError(concat("min_user_events must be 3 or more (one to train on, one for valid, one for test), got ",
                             options.min_user_events));
  }
}

Split make_split(const EventLog& events, const Catalog& catalog, const SplitOptions& options) {
  validate(options);
  const PartAssigner assigner(events, options);
  const std::vector<Part>& parts = assigner.parts();
  Split split;
  split.is_training.resize(parts.size());
  split.training_counts.assign(static_cast<size_t>(catalog.items()), 0);
  for (size_t e = 0; e < parts.size(); ++e) {
    if (parts[e] != Part::kTraining) continue;
    split.is_training[e] = 1;
    split.training_targets.push_back(static_cast<int64_t>(e));
    ++split.training_counts[static_cast<size_t>(events.item[e])];
  }
  const CaseBuilder builder(events, options, parts);
  for (int64_t user = 0; user < events.users(); ++user) {
    builder.add(user, Part::kValid, split, split.valid);
    builder.add(user, Part::kTest, split, split.test);
  }
  return split;
}

}  // namespace rondo
