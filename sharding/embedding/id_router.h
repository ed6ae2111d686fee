#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/partial_bags.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/embedding/table_part.h"
#include "sharding/exchange/distinct_ids.h"
#include "sharding/exchange/id_exchange.h"

namespace rondo {

/// Steps 1 to 3 of DESIGN 4, all tables together: distinct ids, who holds them, ids to the holders, slots there.
/// Keeps its buffers.
class IdRouter {
 public:
  IdRouter(std::span<EmbeddingTable> tables, Communicator& comm) : tables_(tables), comm_(comm), ids_(comm) {}

  /// Collective. Memory of `routed` is used again.
  void route(std::span<const TableIds> ids, std::span<const PooledFeature> pooled, LookupMode mode, RoutedIds& routed);

  int64_t id_bytes() const { return ids_.sent_bytes(); }
  int64_t bag_entry_bytes() const { return ids_.attached_bytes(); }

 private:
  /// What one table is asked for: its ids and the features that it pools.
  struct Request {
    const TableIds& ids;
    std::span<const PooledFeature> pooled;
    std::vector<size_t> features;  // of `pooled`, those of this table
    LookupMode mode;
  };

  void collect(const EmbeddingTable& table, const Request& request, RoutedIds& routed);
  std::span<const uint64_t> all_keys(const EmbeddingTable& table, const Request& request);
  void check_keys(const EmbeddingTable& table, const Request& request, std::span<const uint64_t> keys) const;
  void split(const EmbeddingTable& table, std::span<const uint64_t> found, size_t home, RoutedTable& routed);
  void place(const TablePart& part, std::span<const uint64_t> keys, size_t home, LookupMode mode, RoutedPart& routed);
  void count(const Request& request, RoutedTable& routed) const;
  void take_features(const EmbeddingTable& table, const Request& request, RoutedIds& routed);
  void attach(const TablePart& part, const Request& request, std::span<const BagEntries> entries, RoutedPart& routed);
  void exchange(LookupMode mode, RoutedIds& routed);
  void resolve(TablePart& part, ReceivedIds& received, LookupMode mode, RoutedPart& routed);
  void unpack(std::span<const at::ScalarType> weights, const ReceivedIds& received, RoutedPart& routed) const;

  std::span<EmbeddingTable> tables_;
  Communicator& comm_;
  DistinctIds distinct_;
  IdExchange ids_;
  std::vector<uint64_t> keys_;        // of one table, when they come from several features
  std::vector<int64_t> position_of_;  // [ids of one table] among its distinct keys
  std::vector<int64_t> place_of_;     // [distinct] among the keys of its part
  std::vector<int64_t> row_of_;       // [distinct] among the rows that come home, if it does
  std::vector<uint8_t> part_of_;      // [distinct]
  std::vector<uint64_t> part_keys_;
  std::vector<size_t> part_members_;
  std::vector<PackedBags> packed_;  // [parts of all tables]
  std::vector<ReceivedIds> received_;
};

}  // namespace rondo
