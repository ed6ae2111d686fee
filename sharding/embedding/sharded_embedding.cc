#include "sharding/embedding/sharded_embedding.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/embedding/row_kernels.h"
#include "sharding/embedding/row_math.h"
#include "sharding/exchange/distinct_ids.h"
#include "sharding/exchange/id_exchange.h"
#include "sharding/exchange/row_exchange.h"
#include "sharding/exchange/wire_codec.h"
#include "sharding/plan/key_placement.h"
#include "sharding/plan/shard.h"

namespace rondo {
namespace {

constexpr int64_t kRowGrain = 256;
constexpr float kUntrained = -1.0F;  // travels in place of the count, which is 0 then

bool replicated(const TableSpec& spec) { return spec.placement == Placement::kReplicated; }
bool learns(const TableSpec& spec) { return spec.optimizer.kind != RowOptimizerKind::kNone; }

int64_t sum_before(std::span<const int64_t> rows, size_t rank) {
  return std::accumulate(rows.begin(), rows.begin() + static_cast<int64_t>(rank), int64_t{0});
}

/// Calls body(T{}) with the type of a tensor's scalars.
template <typename Body>
void with_type(at::ScalarType type, const Body& body) {
  if (type == at::kDouble) return body(double{});
  RONDO_CHECK_EQ(type, at::kFloat);
  body(float{});
}

/// Of contiguous tensors of one shape.
void copy_numbers(const at::Tensor& from, const at::Tensor& to) {
  number_copy(from.scalar_type(), to.scalar_type())(from.const_data_ptr(), to.data_ptr(), from.numel());
}

/// What `values` are after they travelled as `wire`.
at::Tensor as_travelled(const at::Tensor& values, at::ScalarType wire) {
  const at::Tensor message = at::empty(values.sizes(), wire), result = at::empty_like(values);
  copy_numbers(values, message);
  copy_numbers(message, result);
  return result;
}

/// Counts travel as fp32 with the rows, in whole numbers of the message's type.
int64_t count_width(at::ScalarType wire) {
  return std::max<int64_t>(1, static_cast<int64_t>(sizeof(float) / c10::elementSize(wire)));
}

struct Table {
  TableSpec spec;
  KeyPlacement placement;
  RowStore store;

  /// Where the keys for `rank` start among this rank's distinct keys.
  int64_t first_key(const RoutedTable& routed, size_t rank) const {
    return replicated(spec) ? 0 : sum_before(routed.send_rows, rank);
  }
};

/// Types of the leaves of a table, of its rows on their way, and of their gradients.
struct TravelTypes {
  at::ScalarType leaf, rows, gradients;
  friend bool operator==(const TravelTypes&, const TravelTypes&) = default;
};

TravelTypes travel_types(const TableSpec& spec) {
  const at::ScalarType leaf = compute_type(spec.row_type);
  return {leaf, wire_type(spec.row_codec, scalar_type(spec.row_type)), wire_type(spec.gradient_codec, leaf)};
}

/// The tables that travel together.
struct TypeGroup {
  TypeGroup(TravelTypes travel, Communicator& comm) : types(travel), rows(comm), gradients(comm) {}

  TravelTypes types;
  std::vector<size_t> owned;     // tables whose rows travel to who asks
  std::vector<size_t> learning;  // tables whose gradients travel to owners
  RowExchange rows, gradients;
  // One for all learning tables, or one each while sums wait for their norm.
  std::vector<ScratchTensor> coalesced, decoded;
};

/// What one table learns in a step.
struct PendingUpdate {
  Table* table;
  RowUpdate update;
};

Table make_table(TableSpec spec, uint64_t seed, const Communicator& comm) {
  KeyPlacement placement(spec, comm.size());
  const Shard shard = shard_of_rank(spec, comm.rank(), comm.size());
  RowStore store(spec, shard.buckets, shard.columns, seed);
  return {std::move(spec), std::move(placement), std::move(store)};
}

}  // namespace

struct ShardedEmbedding::Impl {
  Impl(std::vector<TableSpec> specs, uint64_t seed, Communicator& communicator, ShardedEmbeddingOptions choices);

  size_t world() const { return static_cast<size_t>(comm.size()); }
  size_t me() const { return static_cast<size_t>(comm.rank()); }
  bool other(size_t rank) const { return rank != me(); }

  RoutedTable collect(const Table& table, const TableIds& ids, LookupMode mode);
  void resolve(Table& table, ReceivedIds received, LookupMode mode, RoutedTable& routed);

  TableRows own_rows(const Table& table, const RoutedTable& routed, int64_t step) const;
  void rows_back(TypeGroup& group, const RoutedIds& routed, int64_t step, std::span<TableRows> rows);
  void answer(const TypeGroup& group, const RoutedIds& routed, int64_t step, size_t member);
  void take_answers(const TypeGroup& group, const RoutedIds& routed, size_t member, TableRows& rows) const;

  std::vector<at::Tensor> gradients_to_owners(TypeGroup& group, const RoutedIds& routed,
                                              std::span<const TableRows> rows) const;
  at::Tensor coalesce(TypeGroup& group, const RoutedIds& routed, size_t member, const at::Tensor& mine) const;
  void update_clipped(std::span<PendingUpdate> pending);

  Communicator& comm;
  ShardedEmbeddingOptions options;
  std::vector<Table> tables;
  std::vector<TypeGroup> groups;
  DistinctIds distinct;
  IdExchange ids;
  std::vector<float> counts;  // of the rows asked for by one rank
  std::vector<uint8_t> trained;
};

ShardedEmbedding::Impl::Impl(std::vector<TableSpec> specs, uint64_t seed, Communicator& communicator,
                             ShardedEmbeddingOptions choices)
    : comm(communicator), options(choices), ids(communicator) {
  validate(options);
  for (const TableSpec& spec : specs) {
    validate(spec);
    validate_placement(spec, comm.size());
  }
  assign_owners(specs, comm.size());
  for (TableSpec& spec : specs) tables.push_back(make_table(std::move(spec), seed, comm));
  for (size_t t = 0; t < tables.size(); ++t) {
    const TableSpec& spec = tables[t].spec;
    if (replicated(spec) && !learns(spec)) continue;
    auto group = std::ranges::find(groups, travel_types(spec), &TypeGroup::types);
    if (group == groups.end()) {
      groups.emplace_back(travel_types(spec), comm);
      group = groups.end() - 1;
    }
    if (!replicated(spec)) group->owned.push_back(t);
    if (learns(spec)) group->learning.push_back(t);
  }
  for (TypeGroup& group : groups) {
    const size_t waiting = options.clip_norm > 0.0 ? group.learning.size() : 1;
    group.coalesced.resize(waiting);
    group.decoded.resize(waiting);
  }
}

/// Steps 1 and 2: what this rank asks of one table. A replicated table answers itself, but in training every replica
/// hears of all keys, so that all make the same rows and the same updates.
RoutedTable ShardedEmbedding::Impl::collect(const Table& table, const TableIds& asked, LookupMode mode) {
  RONDO_CHECK(asked.keys.scalar_type() == at::kLong && asked.keys.is_contiguous() && asked.keys.dim() == 1,
              "keys of table ", table.spec.name);
  const auto n = static_cast<size_t>(asked.keys.size(0));
  RONDO_CHECK(asked.counted >= 0 && asked.counted <= asked.keys.size(0), "counted ", asked.counted, " of ", n);
  const std::span<const uint64_t> keys(reinterpret_cast<const uint64_t*>(asked.keys.const_data_ptr<int64_t>()), n);
  table.placement.check_keys(keys);

  RoutedTable routed;
  routed.positions = at::empty({asked.keys.size(0)}, at::kLong);
  const std::span<int64_t> positions(routed.positions.mutable_data_ptr<int64_t>(), n);
  const std::span<const uint64_t> found = distinct.run(keys, positions);
  routed.distinct = static_cast<int64_t>(found.size());
  routed.occurrences.resize(found.size());
  if (replicated(table.spec)) {
    routed.keys.assign(found.begin(), found.end());
    routed.send_rows.assign(world(), mode == LookupMode::kTrain ? routed.distinct : 0);
    routed.send_rows[me()] = routed.distinct;
  } else {
    KeysByOwner grouped = group_by_owner(found, table.placement, comm.size());
    for (int64_t& position : positions) position = grouped.place_of[static_cast<size_t>(position)];
    routed.keys = std::move(grouped.keys);
    routed.send_rows = std::move(grouped.rows);
  }
  for (int64_t i = 0; i < asked.counted; ++i) {
    ++routed.occurrences[static_cast<size_t>(positions[static_cast<size_t>(i)])];
  }
  return routed;
}

/// What all ranks ask of this rank's part of one table: slots, and each row once for the update.
void ShardedEmbedding::Impl::resolve(Table& table, ReceivedIds received, LookupMode mode, RoutedTable& routed) {
  routed.slots.resize(received.keys.size());
  routed.receive_rows = std::move(received.rows);
  if (mode == LookupMode::kEvaluate) return table.store.find(received.keys, routed.slots);
  const auto askers =
      std::count_if(routed.receive_rows.begin(), routed.receive_rows.end(), [](int64_t rows) { return rows > 0; });
  if (askers <= 1) {
    table.store.find_or_create(received.keys, routed.slots);
    routed.updated = routed.slots;
    routed.updated_keys = std::move(received.keys);
    routed.updated_occurrences = std::move(received.occurrences);
    return;
  }
  routed.update_of.resize(received.keys.size());
  const std::span<const uint64_t> keys = distinct.run(received.keys, routed.update_of);
  routed.updated.resize(keys.size());
  routed.updated_keys.assign(keys.begin(), keys.end());
  routed.updated_occurrences.resize(keys.size());
  table.store.find_or_create(keys, routed.updated);
  for (size_t i = 0; i < routed.slots.size(); ++i) {
    const auto place = static_cast<size_t>(routed.update_of[i]);
    routed.slots[i] = routed.updated[place];
    routed.updated_occurrences[place] += received.occurrences[i];
  }
}

/// The rows that this rank answers itself; the rest of the result is not yet filled.
TableRows ShardedEmbedding::Impl::own_rows(const Table& table, const RoutedTable& routed, int64_t step) const {
  TableRows rows{.values = at::empty({routed.distinct, table.spec.dim}, compute_type(table.spec.row_type)),
                 .counts = at::empty({routed.distinct}, at::kFloat),
                 .trained = at::empty({routed.distinct}, at::kBool)};
  const int64_t first = table.first_key(routed, me()), count = routed.receive_rows[me()];
  const auto mine =
      std::span(routed.slots)
          .subspan(static_cast<size_t>(sum_before(routed.receive_rows, me())), static_cast<size_t>(count));
  at::Tensor values = rows.values.narrow(0, first, count);
  table.store.gather(mine, values);
  table.store.statistics(mine, step, {rows.counts.mutable_data_ptr<float>() + first, mine.size()},
                         {reinterpret_cast<uint8_t*>(rows.trained.mutable_data_ptr<bool>()) + first, mine.size()});
  return rows;
}

/// Step 4 for the tables of one type. Matrices 2 i and 2 i + 1 of the exchange: rows and counts of member i.
void ShardedEmbedding::Impl::rows_back(TypeGroup& group, const RoutedIds& routed, int64_t step,
                                       std::span<TableRows> rows) {
  std::vector<MatrixRoute> routes;
  for (const size_t t : group.owned) {
    const RoutedTable& table = routed.tables[t];
    routes.push_back({tables[t].spec.dim, table.receive_rows, table.send_rows});
    routes.push_back({count_width(group.types.rows), table.receive_rows, table.send_rows});
  }
  group.rows.plan(routes, group.types.rows);
  for (size_t i = 0; i < group.owned.size(); ++i) answer(group, routed, step, i);
  group.rows.exchange("rows");
  for (size_t i = 0; i < group.owned.size(); ++i) take_answers(group, routed, i, rows[group.owned[i]]);
}

void ShardedEmbedding::Impl::answer(const TypeGroup& group, const RoutedIds& routed, int64_t step, size_t member) {
  const Table& table = tables[group.owned[member]];
  const RoutedTable& asked = routed.tables[group.owned[member]];
  for (size_t rank = 0, first = 0; rank < world(); first += static_cast<size_t>(asked.receive_rows[rank++])) {
    if (!other(rank)) continue;
    const auto slots = std::span(asked.slots).subspan(first, static_cast<size_t>(asked.receive_rows[rank]));
    at::Tensor values = group.rows.outgoing(2 * member, static_cast<int>(rank));
    table.store.gather(slots, values);
    counts.resize(slots.size());
    trained.resize(slots.size());
    table.store.statistics(slots, step, counts, trained);
    const at::Tensor statistics = group.rows.outgoing(2 * member + 1, static_cast<int>(rank));
    auto* const out = static_cast<std::byte*>(statistics.data_ptr());
    const auto stride = static_cast<size_t>(statistics.size(1)) * statistics.element_size();
    for (size_t i = 0; i < slots.size(); ++i) {
      const float count = trained[i] != 0 ? counts[i] : kUntrained;
      std::memcpy(out + i * stride, &count, sizeof(count));
    }
  }
}

void ShardedEmbedding::Impl::take_answers(const TypeGroup& group, const RoutedIds& routed, size_t member,
                                          TableRows& rows) const {
  const RoutedTable& table = routed.tables[group.owned[member]];
  for (size_t rank = 0; rank < world(); ++rank) {
    if (!other(rank)) continue;
    const int64_t first = sum_before(table.send_rows, rank), count = table.send_rows[rank];
    const at::Tensor values = group.rows.incoming(2 * member, static_cast<int>(rank));
    const at::Tensor statistics = group.rows.incoming(2 * member + 1, static_cast<int>(rank));
    copy_numbers(values, rows.values.narrow(0, first, count));
    const auto* const in = static_cast<const std::byte*>(statistics.const_data_ptr());
    const auto stride = static_cast<size_t>(statistics.size(1)) * statistics.element_size();
    auto* const count_of = rows.counts.mutable_data_ptr<float>() + first;
    auto* const trained_of = rows.trained.mutable_data_ptr<bool>() + first;
    for (int64_t i = 0; i < count; ++i) {
      float travelled = 0.0F;
      std::memcpy(&travelled, in + static_cast<size_t>(i) * stride, sizeof(travelled));
      trained_of[i] = travelled >= 0.0F;
      count_of[i] = trained_of[i] ? travelled : 0.0F;
    }
  }
}

/// This rank's gradients of the group's tables, after they went to the owners.
std::vector<at::Tensor> ShardedEmbedding::Impl::gradients_to_owners(TypeGroup& group, const RoutedIds& routed,
                                                                    std::span<const TableRows> rows) const {
  std::vector<MatrixRoute> routes;
  std::vector<at::Tensor> mine;
  for (const size_t t : group.learning) {
    const RoutedTable& table = routed.tables[t];
    const int64_t dim = tables[t].spec.dim;
    routes.push_back({dim, table.send_rows, table.receive_rows});
    const at::Tensor& gradient = rows[t].values.grad();
    mine.push_back(gradient.defined() ? gradient.contiguous() : at::zeros({table.distinct, dim}, group.types.leaf));
    RONDO_CHECK(mine.back().size(0) == table.distinct && mine.back().scalar_type() == group.types.leaf,
                "gradient of table ", tables[t].spec.name);
    const bool coded = group.types.gradients != group.types.leaf;
    // What all other replicas learn from, this one does, too.
    if (coded && replicated(tables[t].spec)) mine.back() = as_travelled(mine.back(), group.types.gradients);
  }
  group.gradients.plan(routes, group.types.gradients);
  for (size_t i = 0; i < group.learning.size(); ++i) {
    const size_t t = group.learning[i];
    for (size_t rank = 0; rank < world(); ++rank) {
      if (!other(rank)) continue;
      const at::Tensor out = group.gradients.outgoing(i, static_cast<int>(rank));
      const int64_t first = tables[t].first_key(routed.tables[t], rank);
      copy_numbers(mine[i].narrow(0, first, out.size(0)), out);
    }
  }
  group.gradients.exchange("row gradients");
  return mine;
}

/// Sum over ranks of the gradients of routed.updated, in rank order, [u, dim]. Valid until the next call, or step while
/// gradients are clipped.
at::Tensor ShardedEmbedding::Impl::coalesce(TypeGroup& group, const RoutedIds& routed, size_t member,
                                            const at::Tensor& mine) const {
  const size_t t = group.learning[member];
  const RoutedTable& table = routed.tables[t];
  const auto source = [&](size_t rank) {
    if (!other(rank)) return mine.narrow(0, tables[t].first_key(table, rank), table.receive_rows[rank]);
    const at::Tensor incoming = group.gradients.incoming(member, static_cast<int>(rank));
    if (group.types.gradients == group.types.leaf) return incoming;
    ScratchTensor& scratch = group.decoded[member % group.decoded.size()];
    const at::Tensor decoded = scratch.take(incoming.numel(), group.types.leaf).view(incoming.sizes());
    copy_numbers(incoming, decoded);
    return decoded;
  };
  const auto rows = static_cast<int64_t>(table.updated.size()), dim = tables[t].spec.dim;
  if (table.update_of.empty()) {
    const auto asker =
        std::find_if(table.receive_rows.begin(), table.receive_rows.end(), [](int64_t n) { return n > 0; });
    return asker == table.receive_rows.end() ? at::zeros({0, dim}, group.types.leaf)
                                             : source(static_cast<size_t>(asker - table.receive_rows.begin()));
  }
  at::Tensor total =
      group.coalesced[member % group.coalesced.size()].take(rows * dim, group.types.leaf).view({rows, dim});
  int64_t seen = 0;  // rows of `updated` that earlier ranks brought; they are numbered in that order
  const int64_t* places = table.update_of.data();
  for (size_t rank = 0; rank < world(); places += table.receive_rows[rank++]) {
    const int64_t count = table.receive_rows[rank];
    if (count == 0) continue;
    with_type(group.types.leaf, [&]<typename T>(T) {
      const at::Tensor gradients = source(rank);
      const T* const from = gradients.const_data_ptr<T>();
      T* const to = total.mutable_data_ptr<T>();
      parallel_for(count, kRowGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          T* const row = to + places[i] * dim;
          places[i] < seen ? add_row(row, from + i * dim, dim)
                           : static_cast<void>(std::copy_n(from + i * dim, dim, row));
        }
      });
    });
    seen = std::max(seen, *std::max_element(places, places + count) + 1);
  }
  return total;
}

/// Updates once the norm of all gradients is known. Replicas agree on theirs, so that of rank 0 counts.
void ShardedEmbedding::Impl::update_clipped(std::span<PendingUpdate> pending) {
  at::Tensor total = at::zeros({1}, at::kDouble);
  for (const PendingUpdate& entry : pending) {
    if (replicated(entry.table->spec) && comm.rank() != 0) continue;
    *total.mutable_data_ptr<double>() += entry.table->store.norm_square(entry.update);
  }
  comm.all_reduce(total, {Channel::kExchange, "norm of row gradients"})->wait();
  const double norm_square = *total.const_data_ptr<double>();
  const bool finite = std::isfinite(norm_square);
  const double factor = finite ? clipping_factor(norm_square, options.clip_norm) : 0.0;
  for (PendingUpdate& entry : pending) {
    entry.update.gradient_factor = factor;
    entry.table->store.update(entry.update);
  }
  if (finite) return;
  throw DataError(concat("the norm of the row gradients of all ranks is ", std::sqrt(norm_square), " at step ",
                         pending.empty() ? 0 : pending.front().update.step, "; rank ", comm.rank(),
                         " has none that is not finite: another rank says which row"));
}

void validate(const ShardedEmbeddingOptions& options) {
  if (std::isfinite(options.clip_norm) && options.clip_norm >= 0.0) return;
  throw ConfigError(concat("clip_norm must be finite and >= 0, got ", options.clip_norm));
}

ShardedEmbedding::ShardedEmbedding(std::vector<TableSpec> tables, uint64_t seed, Communicator& comm,
                                   ShardedEmbeddingOptions options)
    : impl_(std::make_unique<Impl>(std::move(tables), seed, comm, options)) {}
ShardedEmbedding::~ShardedEmbedding() = default;

int64_t ShardedEmbedding::tables() const { return static_cast<int64_t>(impl_->tables.size()); }
const TableSpec& ShardedEmbedding::spec(int64_t table) const { return impl_->tables.at(table).spec; }
RowStore& ShardedEmbedding::store(int64_t table) { return impl_->tables.at(table).store; }
const RowStore& ShardedEmbedding::store(int64_t table) const { return impl_->tables.at(table).store; }

int ShardedEmbedding::owner(int64_t table, uint64_t key) const {
  const Table& entry = impl_->tables.at(table);
  entry.placement.check_keys({&key, 1});
  return replicated(entry.spec) ? impl_->comm.rank() : entry.placement.owner(key);
}

RoutedIds ShardedEmbedding::route(std::span<const TableIds> ids, LookupMode mode) {
  RONDO_CHECK_EQ(ids.size(), impl_->tables.size());
  RoutedIds routed{.mode = mode, .tables = {}};
  std::vector<AskedIds> asked;
  for (size_t t = 0; t < ids.size(); ++t) routed.tables.push_back(impl_->collect(impl_->tables[t], ids[t], mode));
  for (size_t t = 0; t < ids.size(); ++t) {
    const RoutedTable& table = routed.tables[t];
    asked.push_back({table.keys, table.occurrences, table.send_rows, replicated(impl_->tables[t].spec)});
  }
  std::vector<ReceivedIds> received(ids.size());
  impl_->ids.exchange_counts(asked, received);
  impl_->ids.exchange_ids(asked, received);
  for (size_t t = 0; t < ids.size(); ++t) {
    impl_->resolve(impl_->tables[t], std::move(received[t]), mode, routed.tables[t]);
  }
  return routed;
}

std::vector<TableRows> ShardedEmbedding::forward(const RoutedIds& routed, int64_t step) {
  std::vector<TableRows> rows;
  for (size_t t = 0; t < impl_->tables.size(); ++t) {
    rows.push_back(impl_->own_rows(impl_->tables[t], routed.tables[t], step));
  }
  for (TypeGroup& group : impl_->groups) impl_->rows_back(group, routed, step, rows);
  if (routed.mode != LookupMode::kTrain) return rows;
  for (size_t t = 0; t < rows.size(); ++t) rows[t].values.set_requires_grad(learns(impl_->tables[t].spec));
  return rows;
}

void ShardedEmbedding::backward(const RoutedIds& routed, std::span<const TableRows> rows, int64_t step,
                                double learning_rate_factor) {
  RONDO_CHECK(routed.mode == LookupMode::kTrain, "ids were routed for evaluation");
  RONDO_CHECK_EQ(rows.size(), impl_->tables.size());
  std::vector<PendingUpdate> pending;
  for (TypeGroup& group : impl_->groups) {
    const std::vector<at::Tensor> mine = impl_->gradients_to_owners(group, routed, rows);
    for (size_t i = 0; i < mine.size(); ++i) {
      const RoutedTable& table = routed.tables[group.learning[i]];
      pending.push_back({&impl_->tables[group.learning[i]],
                         {.slots = table.updated,
                          .gradients = impl_->coalesce(group, routed, i, mine[i]),
                          .occurrences = table.updated_occurrences,
                          .step = step,
                          .learning_rate_factor = learning_rate_factor,
                          .keys = table.updated_keys,
                          .rank = impl_->comm.rank()}});
      if (impl_->options.clip_norm > 0.0) continue;
      pending.back().table->store.update(pending.back().update);
      pending.clear();
    }
  }
  if (impl_->options.clip_norm > 0.0) impl_->update_clipped(pending);
}

ShardedEmbedding::Traffic ShardedEmbedding::traffic() const {
  Traffic traffic{.id_bytes = impl_->ids.sent_bytes()};
  for (const TypeGroup& group : impl_->groups) {
    traffic.row_bytes += group.rows.sent_bytes();
    traffic.gradient_bytes += group.gradients.sent_bytes();
  }
  return traffic;
}

}  // namespace rondo
