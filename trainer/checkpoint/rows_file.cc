#include "trainer/checkpoint/rows_file.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/exchange/wire_codec.h"
#include "sharding/plan/key_placement.h"
#include "sharding/plan/shard.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

/// Rows in memory at once, beside the store.
constexpr int64_t kBatchBytes = int64_t{8} << 20;

Hdf5Type stored_type(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return Hdf5Type::kFloat64;
    case at::kHalf:
      return Hdf5Type::kFloat16;
    case at::kBFloat16:
      return Hdf5Type::kBFloat16;
    default:
      RONDO_CHECK_EQ(type, at::kFloat);
      return Hdf5Type::kFloat32;
  }
}

Hdf5Type type_of_values(const TableSpec& spec) { return stored_type(scalar_type(spec.row_type)); }
Hdf5Type type_of_state(const TableSpec& spec) { return stored_type(compute_type(spec.row_type)); }

int64_t batch_rows(const TableSpec& spec, int64_t columns) {
  return std::max<int64_t>(1, kBatchBytes / stored_row_bytes(spec, columns));
}

template <typename T>
void append(Hdf5Writer& writer, const std::string& name, const std::vector<T>& values) {
  writer.append<T>(name, values);
}

void append(Hdf5Writer& writer, const std::string& name, const at::Tensor& rows) {
  writer.append_raw(name, stored_type(rows.scalar_type()), rows.const_data_ptr(), rows.numel(), rows.size(1));
}

/// The rows of table number `table`, which are in the buckets of `shard`.
void write_table(Hdf5Writer& writer, const ShardedEmbedding& embedding, int64_t table, const Shard& shard) {
  const TableSpec& spec = embedding.spec(table);
  const BucketRange buckets = shard.buckets;
  const int64_t rows = embedding.rows(table), columns = shard.columns.count();
  const int64_t width = state_width(spec.optimizer.kind, columns);
  const std::string group = spec.name + "/";
  writer.declare(group + "keys", Hdf5Type::kUint64, rows);
  writer.declare(group + "values", type_of_values(spec), rows, columns);
  if (width > 0) writer.declare(group + "state", type_of_state(spec), rows, width);
  writer.declare(group + "counts", Hdf5Type::kFloat32, rows);
  writer.declare(group + "versions", Hdf5Type::kInt64, rows);
  std::vector<int64_t> offsets{0};
  const int64_t count = buckets.last - buckets.first;
  const int64_t batch = std::clamp<int64_t>(batch_rows(spec, columns) * count / std::max<int64_t>(rows, 1), 1, count);
  for (int64_t first = buckets.first; first < buckets.last; first += batch) {
    const BucketRangeRows part = embedding.export_buckets(table, {first, std::min(buckets.last, first + batch)});
    append(writer, group + "keys", part.rows.keys);
    append(writer, group + "values", part.rows.values);
    if (width > 0) append(writer, group + "state", part.rows.state);
    append(writer, group + "counts", part.rows.counts);
    append(writer, group + "versions", part.rows.versions);
    const int64_t before = offsets.back();
    for (size_t b = 1; b < part.offsets.size(); ++b) offsets.push_back(before + part.offsets[b]);
  }
  writer.write<int64_t>(group + "bucket_offsets", offsets);
  writer.write<int64_t>(group + "range",
                        std::vector<int64_t>{buckets.first, buckets.last, shard.columns.first, shard.columns.last});
}

/// The part of one table in one rows file.
class StoredPart {
 public:
  StoredPart(const Hdf5Reader& reader, std::filesystem::path path, const ManifestPart& part, const TableSpec& spec)
      : reader_(reader),
        path_(std::move(path)),
        part_(part),
        spec_(spec),
        width_(state_width(spec.optimizer.kind, part.columns.count())),
        placement_(spec, /*world=*/1) {
    require_shape("keys", {part.rows});
    require_shape("values", {part.rows, part.columns.count()});
    if (width_ > 0) require_shape("state", {part.rows, width_});
    require_shape("counts", {part.rows});
    require_shape("versions", {part.rows});
    require_shape("bucket_offsets", {part.buckets.last - part.buckets.first + 1});
    require_shape("range", {4});
    const std::vector<int64_t> range{part.buckets.first, part.buckets.last, part.columns.first, part.columns.last};
    require(reader.read<int64_t>(name("range")) == range, "range");
    offsets_ = reader.read<int64_t>(name("bucket_offsets"));
    require(offsets_.front() == 0 && offsets_.back() == part.rows && std::ranges::is_sorted(offsets_),
            "bucket_offsets");
  }

  BucketRange buckets() const { return part_.buckets; }
  ColumnRange columns() const { return part_.columns; }

  /// Rows in the buckets before `bucket`.
  int64_t offset(int64_t bucket) const { return offsets_[static_cast<size_t>(bucket - part_.buckets.first)]; }

  /// Throws StorageError for keys that are not in their bucket, or do not ascend.
  BucketRangeRows read(BucketRange buckets) const {
    BucketRangeRows batch = read_unverified(buckets);
    verify(batch);
    return batch;
  }

  void require(bool holds, const char* dataset) const {
    if (!holds) {
      throw StorageError(concat(path_.string(), ": ", name(dataset), " contradicts the manifest or its own order"));
    }
  }

 private:
  std::string name(const char* dataset) const { return concat(spec_.name, "/", dataset); }

  void require_shape(const char* dataset, const std::vector<int64_t>& shape) const {
    require(reader_.shape(name(dataset)) == shape, dataset);
  }

  BucketRangeRows read_unverified(BucketRange buckets) const {
    const int64_t first = offset(buckets.first), rows = offset(buckets.last) - first;
    const at::TensorOptions values = scalar_type(spec_.row_type), state = compute_type(spec_.row_type);
    BucketRangeRows batch{.range = buckets,
                          .offsets = {},
                          .rows = {.keys = std::vector<uint64_t>(static_cast<size_t>(rows)),
                                   .values = at::empty({rows, part_.columns.count()}, values),
                                   .state = at::empty({rows, width_}, state),
                                   .counts = std::vector<float>(static_cast<size_t>(rows)),
                                   .versions = std::vector<int64_t>(static_cast<size_t>(rows))}};
    for (int64_t b = buckets.first; b <= buckets.last; ++b) batch.offsets.push_back(offset(b) - first);
    reader_.read_rows<uint64_t>(name("keys"), first, rows, batch.rows.keys);
    reader_.read_raw(name("values"), type_of_values(spec_), batch.rows.values.data_ptr(), first, rows);
    if (width_ > 0) reader_.read_raw(name("state"), type_of_state(spec_), batch.rows.state.data_ptr(), first, rows);
    reader_.read_rows<float>(name("counts"), first, rows, batch.rows.counts);
    reader_.read_rows<int64_t>(name("versions"), first, rows, batch.rows.versions);
    return batch;
  }

  /// Keys are in their bucket and ascend within it: what the store takes for granted.
  void verify(const BucketRangeRows& batch) const {
    const auto& keys = batch.rows.keys;
    for (int64_t b = 0; b < batch.range.last - batch.range.first; ++b) {
      const int64_t first = batch.offsets[static_cast<size_t>(b)], end = batch.offsets[static_cast<size_t>(b) + 1];
      for (int64_t i = first; i < end; ++i) {
        const uint64_t key = keys[static_cast<size_t>(i)];
        const bool in_table = spec_.key_space != KeySpace::kDense || key < static_cast<uint64_t>(spec_.rows);
        require(in_table && placement_.bucket(key) == batch.range.first + b &&
                    (i == first || keys[static_cast<size_t>(i) - 1] < key),
                "keys");
      }
    }
  }

  const Hdf5Reader& reader_;
  std::filesystem::path path_;
  const ManifestPart& part_;
  const TableSpec& spec_;
  int64_t width_;
  KeyPlacement placement_;
  std::vector<int64_t> offsets_;
};

bool overlap(ColumnRange a, ColumnRange b) { return a.first < b.last && b.first < a.last; }

/// The buckets of one table that the same files hold, each some of the columns: those that this rank needs.
class StoredSlab {
 public:
  StoredSlab(std::vector<StoredPart> parts, const TableSpec& spec, ColumnRange columns)
      : parts_(std::move(parts)), spec_(spec), columns_(columns) {}

  /// Imports the buckets that this rank holds or has hot rows in.
  void load_into(ShardedEmbedding& embedding, int64_t table) const {
    const BucketRange held = embedding.buckets(table), stored = parts_.front().buckets();
    const int64_t first = std::clamp(held.first, stored.first, stored.last);
    const int64_t last = std::clamp(held.last, first, stored.last);
    load_singly({stored.first, first}, embedding, table);
    load_run({first, last}, embedding, table);
    load_singly({last, stored.last}, embedding, table);
  }

 private:
  void load_run(BucketRange buckets, ShardedEmbedding& embedding, int64_t table) const {
    const int64_t most = batch_rows(spec_, columns_.count());
    for (int64_t first = buckets.first; first < buckets.last;) {
      int64_t end = first + 1;
      const StoredPart& part = parts_.front();
      while (end < buckets.last && part.offset(end + 1) - part.offset(first) <= most) ++end;
      embedding.import_buckets(table, read({first, end}));
      first = end;
    }
  }

  /// The buckets of others in which this rank has hot rows.
  void load_singly(BucketRange buckets, ShardedEmbedding& embedding, int64_t table) const {
    if (buckets.first == buckets.last || !embedding.wants(table, buckets)) return;
    for (int64_t bucket = buckets.first; bucket < buckets.last; ++bucket) {
      if (embedding.wants(table, {bucket, bucket + 1})) embedding.import_buckets(table, read({bucket, bucket + 1}));
    }
  }

  /// The columns of this rank, whichever parts they are in.
  BucketRangeRows read(BucketRange buckets) const {
    BucketRangeRows batch = parts_.front().read(buckets);
    const bool whole = parts_.size() == 1 && parts_.front().columns().first == columns_.first &&
                       parts_.front().columns().last == columns_.last;
    if (whole) return batch;
    const auto rows = static_cast<int64_t>(batch.rows.keys.size());
    BucketRows joined{
        .keys = {},
        .values = at::empty({rows, columns_.count()}, scalar_type(spec_.row_type)),
        .state = at::empty({rows, state_width(spec_.optimizer.kind, columns_.count())}, compute_type(spec_.row_type)),
        .counts = {},
        .versions = {}};
    take_columns(batch.rows, parts_.front().columns(), joined);
    for (size_t p = 1; p < parts_.size(); ++p) {
      const BucketRangeRows more = parts_[p].read(buckets);
      parts_[p].require(more.rows.keys == batch.rows.keys && more.rows.versions == batch.rows.versions, "keys");
      take_columns(more.rows, parts_[p].columns(), joined);
    }
    batch.rows.values = joined.values;
    batch.rows.state = joined.state;
    return batch;
  }

  /// Copies the columns that `from`, which has columns `has`, shares with this rank's. State by column comes in blocks;
  /// state of whole rows, behind them, is the same in every part.
  void take_columns(const BucketRows& from, ColumnRange has, BucketRows& to) const {
    const int64_t first = std::max(has.first, columns_.first);
    const int64_t count = std::min(has.last, columns_.last) - first;
    const int64_t source = first - has.first, target = first - columns_.first;
    to.values.narrow(1, target, count).copy_(from.values.narrow(1, source, count));
    const StateShape shape = state_shape(spec_.optimizer.kind);
    for (int64_t block = 0; block < shape.per_column; ++block) {
      to.state.narrow(1, block * columns_.count() + target, count)
          .copy_(from.state.narrow(1, block * has.count() + source, count));
    }
    to.state.narrow(1, shape.per_column * columns_.count(), shape.per_row)
        .copy_(from.state.narrow(1, shape.per_column * has.count(), shape.per_row));
  }

  std::vector<StoredPart> parts_;
  const TableSpec& spec_;
  ColumnRange columns_;
};

/// The parts of one table that hold the same buckets.
struct Slab {
  int64_t table;
  std::vector<const ManifestPart*> parts;  // by column, those with columns of this rank
};

/// What this rank reads, in the order of files, so that few are open at once.
std::vector<Slab> wanted_slabs(const Manifest& manifest, const ShardedEmbedding& embedding) {
  std::vector<Slab> wanted;
  for (int64_t table = 0; table < embedding.tables(); ++table) {
    const std::string& name = embedding.spec(table).name;
    const auto stored = std::ranges::find(manifest.tables, name, &ManifestTable::name);
    RONDO_CHECK(stored != manifest.tables.end(), "table ", name);
    const BucketRange* buckets = nullptr;
    for (const ManifestPart& part : stored->parts) {
      if (!embedding.wants(table, part.buckets) || !overlap(part.columns, embedding.columns(table))) continue;
      if (buckets == nullptr || buckets->first != part.buckets.first) wanted.push_back({table, {}});
      wanted.back().parts.push_back(&part);
      buckets = &part.buckets;
    }
  }
  std::ranges::stable_sort(wanted, {}, [](const Slab& slab) -> const std::string& { return slab.parts[0]->file; });
  return wanted;
}

}  // namespace

int64_t stored_row_bytes(const TableSpec& spec, int64_t columns) {
  const int64_t state = spec.row_type == RowType::kFloat64 ? 8 : 4;
  const int64_t learned = columns * bytes_of(spec.row_type) + state_width(spec.optimizer.kind, columns) * state;
  return static_cast<int64_t>(sizeof(uint64_t) + sizeof(float) + sizeof(int64_t)) + learned;
}

Shard shard_to_write(const TableSpec& spec, int64_t table, int rank, int world) {
  const Shard whole = whole_table(spec);
  if (spec.placement != Placement::kReplicated) return shard_of_rank(spec, rank, world);
  return table % world == rank ? whole : Shard{{0, 0}, whole.columns};
}

void write_rows_file(const std::filesystem::path& path, const ShardedEmbedding& embedding, const RowsFileHeader& header,
                     FileSystem& files) {
  Hdf5Writer writer(path);
  writer.set_attribute("format", int64_t{kCheckpointFormat});
  writer.set_attribute("step", header.step);
  writer.set_attribute("rank", int64_t{header.rank});
  writer.set_attribute("world", int64_t{header.world});
  for (int64_t table = 0; table < embedding.tables(); ++table) {
    const Shard shard = shard_to_write(embedding.spec(table), table, header.rank, header.world);
    if (!shard.empty()) write_table(writer, embedding, table, shard);
  }
  writer.close(files);
}

void read_rows(const std::filesystem::path& checkpoint, const Manifest& manifest, ShardedEmbedding& embedding) {
  std::map<std::string, Hdf5Reader> open;
  for (const Slab& slab : wanted_slabs(manifest, embedding)) {
    std::map<std::string, Hdf5Reader> needed;
    for (const ManifestPart* part : slab.parts) {
      auto reader = open.extract(part->file);
      reader.empty() ? static_cast<void>(needed.try_emplace(part->file, checkpoint / part->file))
                     : static_cast<void>(needed.insert(std::move(reader)));
    }
    open = std::move(needed);
    const TableSpec& spec = embedding.spec(slab.table);
    std::vector<StoredPart> parts;
    for (const ManifestPart* part : slab.parts) {
      parts.emplace_back(open.at(part->file), checkpoint / part->file, *part, spec);
    }
    StoredSlab(std::move(parts), spec, embedding.columns(slab.table)).load_into(embedding, slab.table);
  }
}

}  // namespace rondo
