#include "trainer/model/frozen_texts.h"

#include <algorithm>
#include <unordered_set>

#include "sharding/plan/shard.h"
#include "trainer/text/packed_texts.h"

namespace rondo {
namespace {

/// Tokens encoded at once: bounds the memory of activations, whatever the texts.
constexpr size_t kBatchTokens = 4096;

}  // namespace

FrozenTexts::FrozenTexts(const ItemFeatures& features) : features_(features) {
  keys_.reserve(static_cast<size_t>(features.items()));
  for (int32_t place = 0; place < features.items(); ++place) {
    const auto text = features.text(place);
    keys_.push_back(text.empty() ? 0 : text_digest(text));
  }
}

std::vector<int32_t> FrozenTexts::missing(const RowStore& store) const {
  const BucketRange range = store.range();
  std::vector<int32_t> places;
  std::vector<uint64_t> keys;
  std::unordered_set<uint64_t> seen;
  for (int32_t place = 0; place < features_.items(); ++place) {
    const int64_t bucket = bucket_of(key(place), store.spec().buckets);
    if (bucket < range.first || bucket >= range.last || features_.text(place).empty()) continue;
    if (!seen.insert(key(place)).second) continue;
    places.push_back(place);
    keys.push_back(key(place));
  }
  std::vector<int64_t> slots(keys.size());
  store.find(keys, slots);
  size_t left = 0;
  for (size_t i = 0; i < places.size(); ++i) {
    if (slots[i] < 0) places[left++] = places[i];
  }
  places.resize(left);
  return places;
}

int64_t FrozenTexts::encode_missing(const TextTower& tower, RowStore& store, const StepContext& context) const {
  const std::vector<int32_t> places = missing(store);
  PackedTexts texts;
  std::vector<uint64_t> keys;
  for (size_t i = 0; i < places.size(); ++i) {
    append_text(features_.text(places[i]), texts);
    keys.push_back(key(places[i]));
    if (texts.tokens.size() < kBatchTokens && i + 1 < places.size()) continue;
    std::vector<int64_t> slots(keys.size());
    store.find_or_create(keys, slots);
    store.assign(slots, tower.pooled(texts, {context.seed, context.step, false}), std::max<int64_t>(context.step, 1));
    texts = {};
    keys.clear();
  }
  return static_cast<int64_t>(places.size());
}

}  // namespace rondo
