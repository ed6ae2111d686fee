#include "sharding/embedding/sharded_embedding.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/embedding/row_kernels.h"
#include "sharding/embedding/row_math.h"
#include "sharding/exchange/distinct_ids.h"
#include "sharding/exchange/id_exchange.h"
#include "sharding/exchange/row_exchange.h"
#include "sharding/plan/key_placement.h"
#include "sharding/plan/shard.h"

namespace rondo {
namespace {

constexpr int64_t kRowGrain = 256;
constexpr double kUntrained = -1.0;  // travels in place of the count, which is 0 then

at::ScalarType scalar_type(const TableSpec& spec) {
  return spec.row_type == RowType::kFloat64 ? at::kDouble : at::kFloat;
}

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

/// Of contiguous tensors of one shape and type.
void copy_bytes(const at::Tensor& from, const at::Tensor& to) {
  std::copy_n(static_cast<const std::byte*>(from.const_data_ptr()), from.nbytes(),
              static_cast<std::byte*>(to.data_ptr()));
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

/// The tables of one row type: what travels together.
struct TypeGroup {
  TypeGroup(at::ScalarType scalars, Communicator& comm) : type(scalars), rows(comm), gradients(comm) {}

  at::ScalarType type;
  std::vector<size_t> owned;     // tables whose rows travel to who asks
  std::vector<size_t> learning;  // tables whose gradients travel to owners
  RowExchange rows, gradients;
  std::vector<ScratchTensor> coalesced;  // one for all learning tables, or one each while sums wait for their norm
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
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    TypeGroup group(type, comm);
    for (size_t t = 0; t < tables.size(); ++t) {
      if (scalar_type(tables[t].spec) != type) continue;
      if (!replicated(tables[t].spec)) group.owned.push_back(t);
      if (learns(tables[t].spec)) group.learning.push_back(t);
    }
    group.coalesced.resize(options.clip_norm > 0.0 ? group.learning.size() : 1);
    if (!group.owned.empty() || !group.learning.empty()) groups.push_back(std::move(group));
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
    routed.updated_occurrences = std::move(received.occurrences);
    return;
  }
  routed.update_of.resize(received.keys.size());
  const std::span<const uint64_t> keys = distinct.run(received.keys, routed.update_of);
  routed.updated.resize(keys.size());
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
  TableRows rows{.values = at::empty({routed.distinct, table.spec.dim}, scalar_type(table.spec)),
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
    routes.push_back({1, table.receive_rows, table.send_rows});
  }
  group.rows.plan(routes, group.type);
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
    with_type(group.type, [&]<typename T>(T) {
      T* const out = statistics.mutable_data_ptr<T>();
      for (size_t i = 0; i < slots.size(); ++i) out[i] = static_cast<T>(trained[i] != 0 ? counts[i] : kUntrained);
    });
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
    copy_bytes(values, rows.values.narrow(0, first, count));
    with_type(group.type, [&]<typename T>(T) {
      const T* const in = statistics.const_data_ptr<T>();
      auto* const count_of = rows.counts.mutable_data_ptr<float>() + first;
      auto* const trained_of = rows.trained.mutable_data_ptr<bool>() + first;
      for (int64_t i = 0; i < count; ++i) {
        trained_of[i] = in[i] >= T{0};
        count_of[i] = trained_of[i] ? static_cast<float>(in[i]) : 0.0F;
      }
    });
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
    mine.push_back(gradient.defined() ? gradient.contiguous() : at::zeros({table.distinct, dim}, group.type));
    RONDO_CHECK(mine.back().size(0) == table.distinct && mine.back().scalar_type() == group.type, "gradient of table ",
                tables[t].spec.name);
  }
  group.gradients.plan(routes, group.type);
  for (size_t i = 0; i < group.learning.size(); ++i) {
    const size_t t = group.learning[i];
    for (size_t rank = 0; rank < world(); ++rank) {
      if (!other(rank)) continue;
      const at::Tensor out = group.gradients.outgoing(i, static_cast<int>(rank));
      const int64_t first = tables[t].first_key(routed.tables[t], rank);
      copy_bytes(mine[i].narrow(0, first, out.size(0)), out);
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
    return other(rank) ? group.gradients.incoming(member, static_cast<int>(rank))
                       : mine.narrow(0, tables[t].first_key(table, rank), table.receive_rows[rank]);
  };
  const auto rows = static_cast<int64_t>(table.updated.size()), dim = tables[t].spec.dim;
  if (table.update_of.empty()) {
    const auto asker =
        std::find_if(table.receive_rows.begin(), table.receive_rows.end(), [](int64_t n) { return n > 0; });
    return asker == table.receive_rows.end() ? at::zeros({0, dim}, group.type)
                                             : source(static_cast<size_t>(asker - table.receive_rows.begin()));
  }
  at::Tensor total = group.coalesced[member % group.coalesced.size()].take(rows * dim, group.type).view({rows, dim});
  int64_t seen = 0;  // rows of `updated` that earlier ranks brought; they are numbered in that order
  const int64_t* places = table.update_of.data();
  for (size_t rank = 0; rank < world(); places += table.receive_rows[rank++]) {
    const int64_t count = table.receive_rows[rank];
    if (count == 0) continue;
    with_type(group.type, [&]<typename T>(T) {
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
