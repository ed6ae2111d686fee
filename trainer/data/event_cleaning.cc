#include "trainer/data/event_cleaning.h"

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace rondo {
namespace {

/// Compacts one run of events of equal time to `out`; returns how many are kept.
size_t keep_first_of_equal_rows(std::span<const SpooledEvent> run, SpooledEvent* out) {
  std::vector<std::pair<uint64_t, size_t>> rows;  // hash, position
  for (size_t i = 0; i < run.size(); ++i) rows.emplace_back(run[i].row_hash, i);
  std::sort(rows.begin(), rows.end());
  const auto is_same_row = [](const auto& a, const auto& b) { return a.first == b.first; };
  rows.erase(std::unique(rows.begin(), rows.end(), is_same_row), rows.end());
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  for (size_t kept = 0; kept < rows.size(); ++kept) out[kept] = run[rows[kept].second];
  return rows.size();
}

}  // namespace

std::span<SpooledEvent> drop_duplicate_rows(std::span<SpooledEvent> events) {
  size_t kept = 0;
  for (size_t begin = 0, end = 0; begin < events.size(); begin = end) {
    while (end < events.size() && events[end].time == events[begin].time) ++end;
    if (end - begin == 1) {
      events[kept++] = events[begin];
    } else {
      kept += keep_first_of_equal_rows(events.subspan(begin, end - begin), events.data() + kept);
    }
  }
  return events.first(kept);
}

std::span<SpooledEvent> join_overlapping_rows(std::span<SpooledEvent> events) {
  const auto same_item = [](const SpooledEvent& a, const SpooledEvent& b) { return a.item == b.item; };
  size_t kept = 0;
  for (size_t begin = 0, end = 0; begin < events.size(); begin = end) {
    ++end;
    while (end < events.size() && !events[end].starts_row) ++end;
    const auto row = events.subspan(begin, end - begin);
    size_t overlap = std::min(kept, row.size());
    while (!std::equal(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(overlap),
                       events.begin() + static_cast<std::ptrdiff_t>(kept - overlap), same_item)) {
      --overlap;
    }
    for (const SpooledEvent& event : row.subspan(overlap)) events[kept++] = event;
  }
  return events.first(kept);
}

}  // namespace rondo
