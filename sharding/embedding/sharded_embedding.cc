#include "sharding/embedding/sharded_embedding.h"

#include <cmath>
#include <memory>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/embedding/id_router.h"
#include "sharding/embedding/plan_agreement.h"
#include "sharding/embedding/row_learning.h"
#include "sharding/embedding/row_lookup.h"
#include "sharding/embedding/table_part.h"
#include "sharding/plan/shard.h"

namespace rondo {
namespace {

/// What a device cannot do yet, it must not do wrongly.
void validate_for_device(const TableSpec& spec) {
  const char* what = nullptr;
  if (spec.placement == Placement::kColumnWise) what = "placement COLUMN_WISE";
  if (!spec.hot_keys.empty()) what = "hot rows";
  if (spec.way_home == WayHome::kSums) what = "bags that are summed where the rows are (way_home SUMS)";
  if (what == nullptr) return;
  throw ConfigError(concat("table \"", spec.name, "\": rows on a device are not for ", what,
                           " yet (docs/gpu.md); place it row-wise, table-wise or replicated, rows home"));
}

std::vector<EmbeddingTable> make_tables(std::vector<TableSpec> specs, uint64_t seed, Communicator& comm,
                                        DeviceStaging* staging) {
  for (const TableSpec& spec : specs) {
    validate(spec);
    validate_placement(spec, comm.size());
    if (staging != nullptr) validate_for_device(spec);
  }
  agree_on_plan(specs, seed, comm);
  assign_owners(specs, comm.size());
  std::vector<EmbeddingTable> tables;
  for (size_t t = 0; t < specs.size(); ++t) tables.push_back(make_table(specs[t], t, seed, comm, staging));
  return tables;
}

void check_tables(std::span<const PooledFeature> pooled, const std::vector<EmbeddingTable>& tables) {
  const auto count = static_cast<int64_t>(tables.size());
  for (const PooledFeature& feature : pooled) {
    if (feature.table >= 0 && feature.table < count) continue;
    std::string names;
    for (const EmbeddingTable& table : tables) names += (names.empty() ? "\"" : ", \"") + table.spec.name + "\"";
    throw ConfigError(concat("feature \"", feature.name, "\": table ", feature.table, " is unknown; tables 0 to ",
                             count - 1, " are ", names));
  }
}

}  // namespace

struct ShardedEmbedding::Impl {
  Impl(std::vector<TableSpec> specs, uint64_t seed, Communicator& communicator, ShardedEmbeddingOptions options)
      : comm(communicator),
        staging(options.device != nullptr ? std::make_unique<DeviceStaging>(*options.device) : nullptr),
        tables(make_tables(std::move(specs), seed, comm, staging.get())),
        router(tables, comm),
        ahead(tables, comm),
        rows(tables, comm, staging.get()),
        learning(tables, options.clip_norm, comm, staging.get()) {}

  Communicator& comm;
  std::unique_ptr<DeviceStaging> staging;  // null: the rows are in host memory
  std::vector<EmbeddingTable> tables;
  IdRouter router, ahead;
  RowLookup rows;
  RowLearning learning;
};

void validate(const ShardedEmbeddingOptions& options) {
  if (options.device != nullptr && options.clip_norm > 0.0) {
    throw ConfigError("clip_norm of all rows together is not for rows on a device yet (docs/gpu.md); clip each row");
  }
  if (std::isfinite(options.clip_norm) && options.clip_norm >= 0.0) return;
  throw ConfigError(concat("clip_norm must be finite and >= 0, got ", options.clip_norm));
}

ShardedEmbedding::ShardedEmbedding(std::vector<TableSpec> tables, uint64_t seed, Communicator& comm,
                                   ShardedEmbeddingOptions options) {
  validate(options);
  impl_ = std::make_unique<Impl>(std::move(tables), seed, comm, options);
}
ShardedEmbedding::~ShardedEmbedding() = default;

int64_t ShardedEmbedding::tables() const { return static_cast<int64_t>(impl_->tables.size()); }
const TableSpec& ShardedEmbedding::spec(int64_t table) const { return impl_->tables.at(table).spec; }
RowStore& ShardedEmbedding::store(int64_t table) { return impl_->tables.at(table).parts[0].store; }
const RowStore& ShardedEmbedding::store(int64_t table) const { return impl_->tables.at(table).parts[0].store; }

int64_t ShardedEmbedding::rows(int64_t table) const { return impl_->tables.at(table).rows(); }
BucketRange ShardedEmbedding::buckets(int64_t table) const { return store(table).range(); }
ColumnRange ShardedEmbedding::columns(int64_t table) const { return store(table).columns(); }

bool ShardedEmbedding::wants(int64_t table, BucketRange range) const { return impl_->tables.at(table).wants(range); }

BucketRangeRows ShardedEmbedding::export_buckets(int64_t table, BucketRange range) const {
  return impl_->tables.at(table).export_buckets(range);
}

void ShardedEmbedding::import_buckets(int64_t table, const BucketRangeRows& rows) {
  impl_->tables.at(table).import_buckets(rows);
}

int ShardedEmbedding::owner(int64_t table, uint64_t key) const {
  const TablePart& part = impl_->tables.at(table).parts[0];
  part.placement.check_keys({&key, 1});
  return part.holders == Holders::kOne ? part.placement.owner(key) : impl_->comm.rank();
}

RoutedIds ShardedEmbedding::route(std::span<const TableIds> ids, LookupMode mode,
                                  std::span<const PooledFeature> pooled) {
  RoutedIds routed;
  route(ids, mode, pooled, routed);
  return routed;
}

void ShardedEmbedding::route(std::span<const TableIds> ids, LookupMode mode, std::span<const PooledFeature> pooled,
                             RoutedIds& routed) {
  check_tables(pooled, impl_->tables);
  impl_->router.begin(ids, pooled, mode, routed);
  impl_->router.advance();
  impl_->router.finish();
}

void ShardedEmbedding::begin_route(std::span<const TableIds> ids, LookupMode mode,
                                   std::span<const PooledFeature> pooled, RoutedIds& routed) {
  check_tables(pooled, impl_->tables);
  impl_->ahead.begin(ids, pooled, mode, routed);
}

void ShardedEmbedding::advance_route() { impl_->ahead.advance(); }
void ShardedEmbedding::finish_route() { impl_->ahead.finish(); }

EmbeddedBatch ShardedEmbedding::lookup(const RoutedIds& routed, int64_t step) {
  EmbeddedBatch batch{std::vector<TableRows>(impl_->tables.size()), std::vector<at::Tensor>(routed.pooled.size())};
  impl_->rows.run(routed, step, batch.tables, batch.bags);
  if (routed.mode != LookupMode::kTrain) return batch;
  const auto learns = [&](size_t table) { return impl_->tables[table].parts[0].learns(); };
  for (size_t t = 0; t < batch.tables.size(); ++t) batch.tables[t].values.set_requires_grad(learns(t));
  for (size_t f = 0; f < batch.bags.size(); ++f) batch.bags[f].set_requires_grad(learns(routed.pooled[f].table));
  return batch;
}

void ShardedEmbedding::learn(const RoutedIds& routed, const EmbeddedBatch& batch, int64_t step,
                             double learning_rate_factor) {
  RONDO_CHECK(routed.mode == LookupMode::kTrain, "ids were routed for evaluation");
  RONDO_CHECK_EQ(batch.tables.size(), impl_->tables.size());
  RONDO_CHECK_EQ(batch.bags.size(), routed.pooled.size());
  impl_->learning.run(routed, batch.tables, batch.bags, {step, learning_rate_factor});
}

std::vector<TableRows> ShardedEmbedding::forward(const RoutedIds& routed, int64_t step) {
  RONDO_CHECK(routed.pooled.empty(), "pooled features come with lookup");
  return lookup(routed, step).tables;
}

void ShardedEmbedding::backward(const RoutedIds& routed, std::span<const TableRows> rows, int64_t step,
                                double learning_rate_factor) {
  learn(routed, {{rows.begin(), rows.end()}, {}}, step, learning_rate_factor);
}

ShardedEmbedding::Traffic ShardedEmbedding::traffic() const {
  return {.id_bytes = impl_->router.id_bytes() + impl_->ahead.id_bytes(),
          .bag_entry_bytes = impl_->router.bag_entry_bytes() + impl_->ahead.bag_entry_bytes(),
          .row_bytes = impl_->rows.row_bytes(),
          .bag_bytes = impl_->rows.bag_bytes(),
          .gradient_bytes = impl_->learning.gradient_bytes(),
          .bag_gradient_bytes = impl_->learning.bag_gradient_bytes(),
          .square_bytes = impl_->learning.square_bytes()};
}

}  // namespace rondo
