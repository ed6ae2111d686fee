#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/embedding/partial_bags.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/embedding/table_part.h"
#include "sharding/exchange/distinct_ids.h"

namespace rondo {

/// What one table is asked for: its ids and the features that it pools.
struct AskedTable {
  const TableIds& ids;
  std::span<const PooledFeature> pooled;
  std::vector<size_t> features;  // of `pooled`, those of this table
  LookupMode mode;

  /// Are bags summed by who holds the rows all that is asked for? Then ids go to them as they are.
  bool is_raw(const EmbeddingTable& table) const {
    return table.parts.size() == 1 && table.parts[0].sums_partially() && !features.empty() && ids.keys.size(0) == 0;
  }
};

/// Steps 1 and 2 of DESIGN 4 for one table after the other: distinct ids, who holds them, bags over them. One thread;
/// keeps its buffers.
class TableRouter {
 public:
  TableRouter(int rank, int world) : rank_(rank), world_(world) {}

  /// Fills out.tables and out.pooled for this table, and what its first part's holders must know to sum bags.
  void ask(const EmbeddingTable& table, const AskedTable& request, RoutedIds& out, PackedBags& packed);

  /// places[i] <- place of keys[i] among the distinct ones, which are returned and stay until the next call.
  std::span<const uint64_t> distinct(std::span<const uint64_t> keys, std::span<int64_t> places) {
    return distinct_.run(keys, places);
  }

 private:
  void ask_raw(const EmbeddingTable& table, const AskedTable& request, RoutedIds& out, PackedBags& packed);
  std::span<const uint64_t> all_keys(const AskedTable& request);
  void check_keys(const EmbeddingTable& table, const AskedTable& request, std::span<const uint64_t> keys,
                  int64_t first) const;
  void split(const EmbeddingTable& table, std::span<const uint64_t> found);
  void place(const TablePart& part, std::span<const uint64_t> keys, size_t home, LookupMode mode, RoutedPart& routed);
  void place_by_owner(const TablePart& part, std::span<const uint64_t> keys, size_t home, RoutedPart& routed);
  void count(const AskedTable& request, RoutedTable& routed) const;
  void take_features(const EmbeddingTable& table, const AskedTable& request, RoutedIds& out, PackedBags& packed);
  void attach(const TablePart& part, std::span<const BagEntries> entries, RoutedPart& routed, PackedBags& packed) const;

  int rank_, world_;
  DistinctIds distinct_;
  std::vector<uint64_t> keys_;        // of the table, when they come from several features
  std::vector<int64_t> position_of_;  // [ids of the table] among its distinct keys
  std::vector<int64_t> place_of_;     // [distinct] among the keys of its part
  std::vector<int64_t> row_of_;       // [distinct] among the rows that come home, if it does
  std::vector<uint8_t> part_of_;      // [distinct]
  std::vector<uint64_t> part_keys_;
  std::vector<size_t> part_members_;
};

}  // namespace rondo
