#include "trainer/data/held_out.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/random.h"

namespace rondo {
namespace {

constexpr uint8_t kTraining = as_bit(Role::kTrains) | as_bit(Role::kSeenByValid) | as_bit(Role::kSeenByTest);
constexpr uint8_t kValid = as_bit(Role::kValidTarget) | as_bit(Role::kSeenByTest);
constexpr uint8_t kTest = as_bit(Role::kTestTarget);

/// The events of one user; positions count from the user's first.
struct UserEvents {
  std::span<const int32_t> items;
  std::span<const int64_t> times;
  std::span<const int64_t> baskets;  // the times where the source has no baskets
  std::span<uint8_t> roles;          // all kTraining at first

  int64_t size() const { return static_cast<int64_t>(items.size()); }
};

UserEvents events_of(const EventLog& events, int64_t user, std::span<uint8_t> roles) {
  const auto begin = static_cast<size_t>(events.user_offsets[static_cast<size_t>(user)]);
  const auto count = static_cast<size_t>(events.user_offsets[static_cast<size_t>(user) + 1]) - begin;
  const std::span<const int64_t> times(events.time);
  const auto baskets = events.basket.empty() ? times : std::span<const int64_t>(events.basket);
  return {std::span(events.item).subspan(begin, count), times.subspan(begin, count), baskets.subspan(begin, count),
          roles.subspan(begin, count)};
}

bool has_distinct_items(std::span<const int32_t> items, int64_t wanted, std::vector<int32_t>& buffer) {
  if (static_cast<int64_t>(items.size()) < wanted) return false;
  buffer.assign(items.begin(), items.end());
  std::sort(buffer.begin(), buffer.end());
  return std::unique(buffer.begin(), buffer.end()) - buffer.begin() >= wanted;
}

void leave_one_out(const UserEvents& user) {
  if (user.size() >= 2) user.roles[user.roles.size() - 1] = kTest;
  if (user.size() >= 3) user.roles[user.roles.size() - 2] = kValid;
}

/// A basket by its first event.
struct Basket {
  int64_t start = 0;  // its time
  size_t first = 0;   // its position
  int64_t value = 0;
};

/// The baskets of a user in order of their first event.
void find_baskets(const UserEvents& user, std::vector<Basket>& baskets) {
  baskets.clear();
  for (size_t i = 0; i < user.items.size(); ++i) baskets.push_back({user.times[i], i, user.baskets[i]});
  std::sort(baskets.begin(), baskets.end(),
            [](const Basket& a, const Basket& b) { return std::pair(a.value, a.first) < std::pair(b.value, b.first); });
  const auto same = [](const Basket& a, const Basket& b) { return a.value == b.value; };
  baskets.erase(std::unique(baskets.begin(), baskets.end(), same), baskets.end());
  std::sort(baskets.begin(), baskets.end(), [](const Basket& a, const Basket& b) { return a.first < b.first; });
}

void last_basket_out(const UserEvents& user, std::vector<Basket>& baskets) {
  find_baskets(user, baskets);
  // A user's first event is the earliest of all, so a basket has something before it if that is strictly earlier.
  const auto has_history = [&](const Basket& basket) { return user.times[0] < basket.start; };
  if (baskets.empty() || !has_history(baskets.back())) return;
  const Basket test = baskets.back();
  const bool with_valid = baskets.size() >= 2 && has_history(baskets[baskets.size() - 2]);
  const Basket valid = with_valid ? baskets[baskets.size() - 2] : test;
  for (size_t i = 0; i < user.items.size(); ++i) {
    if (user.baskets[i] == test.value) {
      user.roles[i] = kTest;
      continue;
    }
    const bool trains = user.times[i] < valid.start;
    if (with_valid && user.baskets[i] == valid.value) {
      user.roles[i] = as_bit(Role::kValidTarget);
    } else if (!trains) {
      user.roles[i] = 0;
    }
    if (!trains && user.times[i] < test.start) user.roles[i] |= as_bit(Role::kSeenByTest);
  }
}

/// How many of `count` events go to (valid, test): rounded down, but one at least while training keeps one.
/// RecBole's `_calcu_split_ids`.
std::pair<int64_t, int64_t> random_counts(int64_t count, const SplitOptions& options) {
  const double shares[2] = {options.test_fraction * static_cast<double>(count),
                            options.valid_fraction * static_cast<double>(count)};
  int64_t parts[2] = {static_cast<int64_t>(shares[0]), static_cast<int64_t>(shares[1])};
  for (int i = 0; i < 2; ++i) {
    if (count - parts[0] - parts[1] > 1 && shares[i] > 0.0 && shares[i] < 1.0) ++parts[i];
  }
  return {parts[1], parts[0]};
}

void random_out(const UserEvents& user, const SplitOptions& options, uint64_t user_key,
                std::vector<std::pair<uint64_t, size_t>>& order) {
  const CounterRandom random(options.seed, 0, RandomPurpose::kSplit);
  const auto [valid, test] = random_counts(user.size(), options);
  order.clear();
  for (size_t i = 0; i < user.items.size(); ++i) order.emplace_back(random.bits(user_key, i), i);
  std::sort(order.begin(), order.end());
  for (int64_t i = 0; i < test + valid; ++i) {
    user.roles[order[static_cast<size_t>(i)].second] = i < test ? kTest : kValid;
  }
}

/// The time at which to cut so that about `before` of `times` (which it reorders) lie before it and neither side is
/// empty.
int64_t find_cut(std::vector<int64_t>& times, int64_t before) {
  const auto count = static_cast<int64_t>(times.size());
  before = std::clamp<int64_t>(before, std::min<int64_t>(1, count - 1), count - 1);
  const auto place = times.begin() + before;
  std::nth_element(times.begin(), place, times.end());
  const int64_t at = *place;
  const auto below = std::count_if(times.begin(), place, [at](int64_t time) { return time < at; });
  const auto after = std::partition(place, times.end(), [at](int64_t time) { return time <= at; });
  const auto to_after = after - times.begin();
  if (below == 0 && to_after == count) {
    throw DataError(concat("a split by global time finds no place to cut: the ", count, " events before the next cut ",
                           "all have the time ", at, " (microseconds since 1970); use another split"));
  }
  const bool cut_here = to_after == count || (below > 0 && before - below <= to_after - before);
  return cut_here ? at : *std::min_element(after, times.end());
}

TimeCuts find_cuts(const EventLog& events, const SplitOptions& options) {
  TimeCuts cuts;
  std::vector<int64_t> times = events.time;
  const auto share = [&](double fraction) {
    return std::max<int64_t>(static_cast<int64_t>(fraction * static_cast<double>(events.time.size())), 1);
  };
  auto before = static_cast<int64_t>(times.size());
  if (options.test_fraction > 0.0) {
    cuts.test = find_cut(times, before -= share(options.test_fraction));
    std::erase_if(times, [&](int64_t time) { return time >= cuts.test; });
  }
  cuts.valid = options.valid_fraction > 0.0 ? find_cut(times, before - share(options.valid_fraction)) : cuts.test;
  return cuts;
}

void global_time_out(const EventLog& events, TimeCuts cuts, std::vector<uint8_t>& roles) {
  for (size_t e = 0; e < roles.size(); ++e) {
    if (events.time[e] >= cuts.test) {
      roles[e] = kTest;
    } else if (events.time[e] >= cuts.valid) {
      roles[e] = kValid;
    }
  }
}

}  // namespace

std::vector<uint8_t> assign_roles(const EventLog& events, const SplitOptions& options, TimeCuts& cuts) {
  std::vector<uint8_t> roles(events.item.size(), kTraining);
  if (options.kind == SplitKind::kGlobalTime) {
    if (!roles.empty()) cuts = find_cuts(events, options);
    global_time_out(events, cuts, roles);
    return roles;
  }
  std::vector<int32_t> items;
  std::vector<Basket> baskets;
  std::vector<std::pair<uint64_t, size_t>> order;
  for (int64_t index = 0; index < events.users(); ++index) {
    const UserEvents user = events_of(events, index, roles);
    if (!has_distinct_items(user.items, options.min_user_events, items)) continue;
    if (options.kind == SplitKind::kLeaveOneOut) leave_one_out(user);
    if (options.kind == SplitKind::kLastBasketOut) last_basket_out(user, baskets);
    if (options.kind == SplitKind::kRandom)
      random_out(user, options, events.user_keys[static_cast<size_t>(index)], order);
  }
  return roles;
}

}  // namespace rondo
