#pragma once

#include <cstdint>

#include "sharding/base/random.h"
#include "trainer/data/catalog.h"
#include "trainer/data/event_log.h"
#include "trainer/data/split.h"
#include "trainer/model/item_features.h"

namespace rondo::testing {

/// A shop in memory: some items without category, some without text, users with histories of many lengths.
struct TinyShop {
  explicit TinyShop(int64_t users = 40, int64_t items = 30, uint64_t seed = 11) {
    const CounterRandom random(seed, 0, RandomPurpose::kTest);
    fill_catalog(items, random);
    fill_events(users, items, random);
    split = make_split(events, catalog, {});
  }

  static constexpr int64_t kVocabulary = 50;

  Catalog catalog;
  ItemTokens tokens;
  EventLog events;
  Split split;

 private:
  void fill_catalog(int64_t items, const CounterRandom& random) {
    BagColumn category{"category", {0}, {}};
    for (int64_t item = 0; item < items; ++item) {
      catalog.keys.push_back(random.bits(static_cast<uint64_t>(item), 0));
      const auto categories = static_cast<int64_t>(random.below(3, item, 1));  // 0, 1 or 2
      for (int64_t i = 0; i < categories; ++i) category.keys.push_back(random.below(6, item, 2 + i));
      category.offsets.push_back(static_cast<int64_t>(category.keys.size()));
      const auto words = static_cast<int64_t>(random.below(5, item, 10));
      tokens.tokens.push_back(2);  // [CLS]
      for (int64_t i = 0; i < words; ++i) {
        tokens.tokens.push_back(static_cast<int32_t>(5 + random.below(kVocabulary - 5, item, 11 + i)));
      }
      tokens.tokens.push_back(3);  // [SEP]
      tokens.offsets.push_back(static_cast<int64_t>(tokens.tokens.size()));
    }
    catalog.bags.push_back(std::move(category));
    catalog.build_index();
  }

  void fill_events(int64_t users, int64_t items, const CounterRandom& random) {
    events.behaviour_names = {"view", "buy"};
    events.user_offsets = {0};
    for (int64_t user = 0; user < users; ++user) {
      const uint64_t key = 1'000'000 + static_cast<uint64_t>(user);
      events.user_keys.push_back(static_cast<uint64_t>(user));
      const auto count = static_cast<int64_t>(1 + random.below(12, key, 0));
      int64_t time = 0;
      for (int64_t i = 0; i < count; ++i) {
        const uint64_t draw = random.bits(key, 1 + i);
        events.item.push_back(static_cast<int32_t>(std::min(draw % items, (draw >> 20) % items)));  // skewed
        time += static_cast<int64_t>((draw >> 40) % 3) * 86'400'000'000;                            // some at once
        events.time.push_back(time);
        events.behaviour.push_back(static_cast<uint8_t>((draw >> 50) % 2));
        events.value.push_back(1.0F);
        events.basket.push_back(time);
      }
      events.user_offsets.push_back(static_cast<int64_t>(events.item.size()));
    }
  }
};

}  // namespace rondo::testing
