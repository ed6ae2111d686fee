#pragma once

#include <string>

#include "sharding/plan/planner.h"

namespace rondo::testing {

inline CollectiveCost even_links(double message_seconds, double bytes_per_second) {
  const LinkCost link{.message_seconds = message_seconds, .rates = {{1, bytes_per_second}}};
  return {link, link};
}

/// Round numbers, for sums by hand: 1 GB/s and 10 us a message everywhere, 1 ns a byte of work, 100 ns an id or row.
inline HardwareProfile round_profile() {
  HardwareProfile profile;
  profile.name = "round";
  profile.memory_bytes = 16e9;
  profile.ranks_per_node = 4;
  profile.all_to_all = profile.all_gather = profile.reduce_scatter = profile.all_reduce = even_links(1e-5, 1e9);
  const WorkRate rate{1e-7, 1e-9};
  profile.rows = {.ask = rate,
                  .hear = rate,
                  .pool = rate,
                  .unpool = rate,
                  .leaf = rate,
                  .answer = rate,
                  .merge = rate,
                  .memory = {{1e6, {1e-7, 0}, rate, rate}}};
  profile.sums = profile.rows;
  return profile;
}

/// Two bags of 10 ids each of a uniform hashed table.
inline TableRequest table_of(const std::string& name, int64_t rows, int64_t dim) {
  TableRequest table;
  table.spec.name = name;
  table.spec.rows = rows;
  table.spec.dim = dim;
  table.statistics = {.ids_per_example = 20, .bags_per_example = 2};
  table.pooled = true;
  return table;
}

inline PlanOffer everything() { return {true, true, true, true}; }

}  // namespace rondo::testing
