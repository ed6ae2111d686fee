#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/embedding/partial_bags.h"
#include "sharding/embedding/routed_ids.h"
#include "sharding/embedding/table_part.h"
#include "sharding/embedding/table_router.h"
#include "sharding/exchange/id_exchange.h"

namespace rondo {

/// Steps 1 to 3 of DESIGN 4, all tables together: distinct ids, who holds them, ids to the holders, slots there. Tables
/// are worked on in parallel. Three calls in this order for each batch, between which other work can come, collectives
/// of others too. Keeps its buffers.
class IdRouter {
 public:
  IdRouter(std::span<EmbeddingTable> tables, Communicator& comm) : tables_(tables), comm_(comm), ids_(comm) {}

  /// Collective. Counts are under way afterwards. `routed` must stay where it is until finish; its memory is used
  /// again.
  void begin(std::span<const TableIds> ids, std::span<const PooledFeature> pooled, LookupMode mode, RoutedIds& routed);

  /// Collective. Ids are under way afterwards.
  void advance();

  /// Makes rows for new keys (LookupMode::kTrain) and completes `routed`.
  void finish();

  int64_t id_bytes() const { return ids_.sent_bytes(); }
  int64_t bag_entry_bytes() const { return ids_.attached_bytes(); }

 private:
  void collect_asked(std::span<const AskedTable> requests);
  void take(size_t table, std::span<ReceivedIds> received);
  bool unpack(const TableSpec& spec, std::span<const at::ScalarType> weights, ReceivedIds& received,
              RoutedPart& routed) const;
  void resolve(TablePart& part, const ReceivedIds& received, bool distinct, RoutedPart& routed);

  std::span<EmbeddingTable> tables_;
  Communicator& comm_;
  IdExchange ids_;
  std::vector<TableRouter> routers_;   // [threads]
  std::vector<PackedBags> packed_;     // [tables]
  std::vector<int64_t> none_, raw_;    // [world], for tables whose ids go as they are
  std::vector<AskedIds> asked_;        // [parts of all tables]
  std::vector<ReceivedIds> received_;  // [parts of all tables]
  RoutedIds* routed_ = nullptr;        // begun and not finished
};

}  // namespace rondo
