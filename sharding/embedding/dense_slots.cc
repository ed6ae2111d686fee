#include "sharding/embedding/dense_slots.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"

namespace rondo {
namespace {

constexpr int64_t kFindGrain = 4096;
constexpr int64_t kChunk = 32;  // keys whose bits come to the cache at the same time

}  // namespace

DenseSlots::DenseSlots(BucketRange range, const DenseLayout& layout)
    : layout_(layout),
      first_(layout.first_place(range.first)),
      end_(layout.first_place(range.last)),
      made_(static_cast<size_t>((end_ - first_ + 63) / 64)) {}

void DenseSlots::find(std::span<const uint64_t> keys, std::span<int64_t> slots) const {
  RONDO_CHECK_EQ(keys.size(), slots.size());
  parallel_for(static_cast<int64_t>(keys.size()), kFindGrain, [&](int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += kChunk) {
      const int64_t last = std::min(end, first + kChunk);
      for (int64_t i = first; i < last; ++i) {
        slots[i] = slot_of(keys[i]);
        __builtin_prefetch(&made_[static_cast<size_t>(slots[i] >> 6)]);
      }
      for (int64_t i = first; i < last; ++i) {
        if (!made(slots[i])) slots[i] = -1;
      }
    }
  });
}

InsertedKey DenseSlots::insert(uint64_t key) {
  const int64_t slot = slot_of(key);
  if (made(slot)) return {slot, false};
  made_[static_cast<size_t>(slot >> 6)] |= uint64_t{1} << (slot & 63);
  ++size_;
  return {slot, true};
}

std::vector<KeySlot> DenseSlots::entries_of(BucketRange wanted) const {
  std::vector<KeySlot> entries;
  for (int64_t bucket = wanted.first; bucket < wanted.last; ++bucket) {
    const auto begin = static_cast<int64_t>(entries.size());
    const int64_t end = layout_.first_place(bucket + 1);
    for (int64_t place = layout_.first_place(bucket); place < end; ++place) {
      if (made(place - first_)) entries.push_back({layout_.key(place), place - first_});
    }
    std::sort(entries.begin() + begin, entries.end(), [](const KeySlot& a, const KeySlot& b) { return a.key < b.key; });
  }
  return entries;
}

}  // namespace rondo
