#include "sharding/embedding/key_index.h"

#include <algorithm>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/parallel.h"

namespace rondo {
namespace {

constexpr int kBucketsPerSegmentLog2 = 4;
constexpr size_t kSmallestSegment = 16;
constexpr int64_t kFindGrain = 2048;
constexpr int64_t kAhead = 16;  // keys whose cells are fetched while earlier ones are compared

/// Where the probe of a key starts. The low bits of the mix name the bucket; a segment is told by them.
uint64_t probe_start(uint64_t mixed, size_t cells) { return (mixed >> 32) & (cells - 1); }

}  // namespace

KeyIndex::KeyIndex(BucketRange range, int64_t buckets) : range_(range), buckets_(buckets) {
  const int64_t count = range.last - range.first, per_segment = int64_t{1} << kBucketsPerSegmentLog2;
  segments_.resize(static_cast<size_t>((count + per_segment - 1) / per_segment));
}

KeyIndex::Address KeyIndex::address_of(uint64_t key) const {
  const uint64_t mixed = mix64(key);
  const auto bucket = static_cast<int64_t>(mixed & static_cast<uint64_t>(buckets_ - 1));
  RONDO_CHECK(bucket >= range_.first && bucket < range_.last, "bucket ", bucket, " of key ", key);
  const Segment& segment = segments_[static_cast<size_t>((bucket - range_.first) >> kBucketsPerSegmentLog2)];
  return {&segment, probe_start(mixed, segment.cells.size())};
}

int64_t KeyIndex::find_from(const Address& address, uint64_t key) const {
  const std::vector<Cell>& cells = address.segment->cells;
  if (cells.empty()) return -1;
  const auto low = static_cast<uint32_t>(key), high = static_cast<uint32_t>(key >> 32);
  const uint64_t mask = cells.size() - 1;
  for (uint64_t at = address.start; cells[at].slot != kEmpty; at = (at + 1) & mask) {
    if (cells[at].low == low && cells[at].high == high) return cells[at].slot;
  }
  return -1;
}

void KeyIndex::find(std::span<const uint64_t> keys, std::span<int64_t> slots) const {
  RONDO_CHECK_EQ(keys.size(), slots.size());
  parallel_for(static_cast<int64_t>(keys.size()), kFindGrain, [&](int64_t begin, int64_t end) {
    Address ahead[kAhead];
    for (int64_t i = begin; i < end + kAhead; ++i) {
      Address& address = ahead[i % kAhead];
      if (i - kAhead >= begin) slots[i - kAhead] = find_from(address, keys[i - kAhead]);
      if (i >= end) continue;
      address = address_of(keys[i]);
      if (!address.segment->cells.empty()) __builtin_prefetch(&address.segment->cells[address.start]);
    }
  });
}

InsertedKey KeyIndex::insert(uint64_t key) {
  const Address address = address_of(key);
  if (const int64_t slot = find_from(address, key); slot >= 0) return {slot, false};
  Segment& segment = segments_[static_cast<size_t>(address.segment - segments_.data())];
  if (segment.used * 4 >= static_cast<int64_t>(segment.cells.size()) * 3) grow(segment);
  RONDO_CHECK_LT(size_, static_cast<int64_t>(kEmpty), "rows of one table on one rank");
  const uint64_t mask = segment.cells.size() - 1;
  uint64_t at = probe_start(mix64(key), segment.cells.size());
  while (segment.cells[at].slot != kEmpty) at = (at + 1) & mask;
  segment.cells[at] = {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32), static_cast<uint32_t>(size_)};
  ++segment.used;
  return {size_++, true};
}

void KeyIndex::grow(Segment& segment) {
  std::vector<Cell> larger(std::max(kSmallestSegment, segment.cells.size() * 2));
  const uint64_t mask = larger.size() - 1;
  for (const Cell& cell : segment.cells) {
    if (cell.slot == kEmpty) continue;
    const uint64_t key = (static_cast<uint64_t>(cell.high) << 32) | cell.low;
    uint64_t at = probe_start(mix64(key), larger.size());
    while (larger[at].slot != kEmpty) at = (at + 1) & mask;
    larger[at] = cell;
  }
  segment.cells = std::move(larger);
}

std::vector<KeySlot> KeyIndex::entries_of(BucketRange wanted) const {
  const auto place = [&](const KeySlot& entry) { return std::pair(bucket_of(entry.key, buckets_), entry.key); };
  const auto segment_of = [&](int64_t bucket) { return (bucket - range_.first) >> kBucketsPerSegmentLog2; };
  std::vector<KeySlot> entries;
  if (wanted.first == wanted.last) return entries;
  for (int64_t s = segment_of(wanted.first); s <= segment_of(wanted.last - 1); ++s) {
    const auto begin = static_cast<int64_t>(entries.size());
    for (const Cell& cell : segments_[static_cast<size_t>(s)].cells) {
      if (cell.slot == kEmpty) continue;
      const uint64_t key = (static_cast<uint64_t>(cell.high) << 32) | cell.low;
      const int64_t bucket = bucket_of(key, buckets_);
      if (bucket >= wanted.first && bucket < wanted.last) entries.push_back({key, cell.slot});
    }
    std::sort(entries.begin() + begin, entries.end(),
              [&](const KeySlot& a, const KeySlot& b) { return place(a) < place(b); });
  }
  return entries;
}

int64_t KeyIndex::memory_bytes() const {
  int64_t bytes = static_cast<int64_t>(segments_.size() * sizeof(Segment));
  for (const Segment& segment : segments_) bytes += static_cast<int64_t>(segment.cells.size() * sizeof(Cell));
  return bytes;
}

}  // namespace rondo
