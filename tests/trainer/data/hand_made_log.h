#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "sharding/base/random.h"
#include "trainer/data/catalog.h"
#include "trainer/data/event_log.h"

namespace rondo::testing {

constexpr int64_t kDay = 86'400'000'000;  // in microseconds

struct HandMadeEvent {
  int32_t item = 0;
  int64_t time = 0;
  int64_t basket = 0;
  uint8_t behaviour = 0;
};

/// A log of users in order; each user's events must be in order of time.
inline EventLog hand_made_log(const std::vector<std::vector<HandMadeEvent>>& users) {
  EventLog log;
  log.user_offsets = {0};
  log.behaviour_names = {"view", "cart", "buy"};
  for (size_t user = 0; user < users.size(); ++user) {
    log.user_keys.push_back(100 + user);
    for (const HandMadeEvent& event : users[user]) {
      log.item.push_back(event.item);
      log.time.push_back(event.time);
      log.basket.push_back(event.basket);
      log.behaviour.push_back(event.behaviour);
      log.value.push_back(1.0F);
    }
    log.user_offsets.push_back(static_cast<int64_t>(log.item.size()));
  }
  return log;
}

inline Catalog catalog_of(int64_t items) {
  Catalog catalog;
  for (int64_t item = 0; item < items; ++item) catalog.keys.push_back(static_cast<uint64_t>(item));
  return catalog;
}

constexpr int64_t kRandomLogItems = 12;

/// Users with 0 to 14 events, many at equal times, many repeated items, baskets that overlap in time.
inline EventLog random_log(int64_t users, uint64_t seed) {
  const CounterRandom random(seed, 0, RandomPurpose::kTest);
  std::vector<std::vector<HandMadeEvent>> all(static_cast<size_t>(users));
  for (size_t user = 0; user < all.size(); ++user) {
    const uint64_t count = random.below(15, user, 0);
    int64_t time = static_cast<int64_t>(random.below(10, user, 1)) * kDay;
    for (uint64_t i = 0; i < count; ++i) {
      time += static_cast<int64_t>(random.below(3, user, 10 + 8 * i)) * kDay;
      all[user].push_back({static_cast<int32_t>(random.below(kRandomLogItems, user, 11 + 8 * i)), time,
                           time / kDay / 3 + static_cast<int64_t>(random.below(2, user, 12 + 8 * i)),
                           static_cast<uint8_t>(random.below(3, user, 13 + 8 * i))});
    }
  }
  return hand_made_log(all);
}

inline std::vector<int32_t> distinct(std::vector<int32_t> items) {
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  return items;
}

}  // namespace rondo::testing
