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

int64_t stored_row_bytes(const TableSpec& spec) {
  const int64_t state = spec.row_type == RowType::kFloat64 ? 8 : 4;
  const int64_t learned = spec.dim * bytes_of(spec.row_type) + state_width(spec.optimizer.kind, spec.dim) * state;
  return static_cast<int64_t>(sizeof(uint64_t) + sizeof(float) + sizeof(int64_t)) + learned;
}

int64_t batch_rows(const TableSpec& spec) { return std::max<int64_t>(1, kBatchBytes / stored_row_bytes(spec)); }

template <typename T>
void append(Hdf5Writer& writer, const std::string& name, const std::vector<T>& values) {
  writer.append<T>(name, values);
}

void append(Hdf5Writer& writer, const std::string& name, const at::Tensor& rows) {
  writer.append_raw(name, stored_type(rows.scalar_type()), rows.const_data_ptr(), rows.numel(), rows.size(1));
}

/// All rows of `store`; they are in `buckets`.
void write_table(Hdf5Writer& writer, const RowStore& store, BucketRange buckets) {
  const TableSpec& spec = store.spec();
  const int64_t rows = store.rows(), width = state_width(spec.optimizer.kind, spec.dim);
  const std::string group = spec.name + "/";
  writer.declare(group + "keys", Hdf5Type::kUint64, rows);
  writer.declare(group + "values", type_of_values(spec), rows, spec.dim);
  if (width > 0) writer.declare(group + "state", type_of_state(spec), rows, width);
  writer.declare(group + "counts", Hdf5Type::kFloat32, rows);
  writer.declare(group + "versions", Hdf5Type::kInt64, rows);
  std::vector<int64_t> offsets{0};
  const int64_t count = buckets.last - buckets.first;
  const int64_t batch = std::clamp<int64_t>(batch_rows(spec) * count / std::max<int64_t>(rows, 1), 1, count);
  for (int64_t first = buckets.first; first < buckets.last; first += batch) {
    const BucketRangeRows part = store.export_buckets({first, std::min(buckets.last, first + batch)});
    append(writer, group + "keys", part.rows.keys);
    append(writer, group + "values", part.rows.values);
    if (width > 0) append(writer, group + "state", part.rows.state);
    append(writer, group + "counts", part.rows.counts);
    append(writer, group + "versions", part.rows.versions);
    const int64_t before = offsets.back();
    for (size_t b = 1; b < part.offsets.size(); ++b) offsets.push_back(before + part.offsets[b]);
  }
  writer.write<int64_t>(group + "bucket_offsets", offsets);
  writer.write<int64_t>(group + "range", std::vector<int64_t>{buckets.first, buckets.last, 0, spec.dim});
}

/// The part of one table in one rows file.
class StoredPart {
 public:
  StoredPart(const Hdf5Reader& reader, const std::filesystem::path& path, const ManifestPart& part,
             const TableSpec& spec)
      : reader_(reader),
        path_(path),
        part_(part),
        spec_(spec),
        width_(state_width(spec.optimizer.kind, spec.dim)),
        placement_(spec, /*world=*/1) {
    require_shape("keys", {part.rows});
    require_shape("values", {part.rows, spec.dim});
    if (width_ > 0) require_shape("state", {part.rows, width_});
    require_shape("counts", {part.rows});
    require_shape("versions", {part.rows});
    require_shape("bucket_offsets", {part.buckets.last - part.buckets.first + 1});
    require_shape("range", {4});
    const std::vector<int64_t> range{part.buckets.first, part.buckets.last, 0, spec.dim};
    require(reader.read<int64_t>(name("range")) == range, "range");
    offsets_ = reader.read<int64_t>(name("bucket_offsets"));
    require(offsets_.front() == 0 && offsets_.back() == part.rows && std::ranges::is_sorted(offsets_),
            "bucket_offsets");
  }

  /// Imports the buckets that `store` holds.
  void load_into(RowStore& store) const {
    const int64_t last = std::min(store.range().last, part_.buckets.last);
    for (int64_t first = std::max(store.range().first, part_.buckets.first); first < last;) {
      int64_t end = first + 1;
      while (end < last && offset(end + 1) - offset(first) <= batch_rows(spec_)) ++end;
      const BucketRangeRows batch = read({first, end});
      verify(batch);
      store.import_buckets(batch);
      first = end;
    }
  }

 private:
  std::string name(const char* dataset) const { return concat(spec_.name, "/", dataset); }
  int64_t offset(int64_t bucket) const { return offsets_[static_cast<size_t>(bucket - part_.buckets.first)]; }

  void require(bool holds, const char* dataset) const {
    if (!holds) {
      throw StorageError(concat(path_.string(), ": ", name(dataset), " contradicts the manifest or its own order"));
    }
  }
  void require_shape(const char* dataset, const std::vector<int64_t>& shape) const {
    require(reader_.shape(name(dataset)) == shape, dataset);
  }

  BucketRangeRows read(BucketRange buckets) const {
    const int64_t first = offset(buckets.first), rows = offset(buckets.last) - first;
    const at::TensorOptions values = scalar_type(spec_.row_type), state = compute_type(spec_.row_type);
    BucketRangeRows batch{.range = buckets,
                          .offsets = {},
                          .rows = {.keys = std::vector<uint64_t>(static_cast<size_t>(rows)),
                                   .values = at::empty({rows, spec_.dim}, values),
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
  const std::filesystem::path& path_;
  const ManifestPart& part_;
  const TableSpec& spec_;
  int64_t width_;
  KeyPlacement placement_;
  std::vector<int64_t> offsets_;
};

bool overlap(BucketRange a, BucketRange b) { return a.first < b.last && b.first < a.last; }

}  // namespace

BucketRange buckets_to_write(const TableSpec& spec, int64_t table, int rank, int world) {
  if (spec.placement != Placement::kReplicated) return shard_of_rank(spec, rank, world).buckets;
  return table % world == rank ? BucketRange{0, spec.buckets} : BucketRange{0, 0};
}

int64_t stored_bytes(const RowStore& store) { return store.rows() * stored_row_bytes(store.spec()); }

void write_rows_file(const std::filesystem::path& path, const ShardedEmbedding& embedding, const RowsFileHeader& header,
                     FileSystem& files) {
  Hdf5Writer writer(path);
  writer.set_attribute("format", int64_t{kCheckpointFormat});
  writer.set_attribute("step", header.step);
  writer.set_attribute("rank", int64_t{header.rank});
  writer.set_attribute("world", int64_t{header.world});
  for (int64_t table = 0; table < embedding.tables(); ++table) {
    const RowStore& store = embedding.store(table);
    const BucketRange buckets = buckets_to_write(store.spec(), table, header.rank, header.world);
    if (buckets.first < buckets.last) write_table(writer, store, buckets);
  }
  writer.close(files);
}

void read_rows(const std::filesystem::path& checkpoint, const Manifest& manifest, ShardedEmbedding& embedding) {
  std::map<std::string, std::vector<std::pair<int64_t, const ManifestPart*>>> wanted;  // by file: each is opened once
  for (int64_t table = 0; table < embedding.tables(); ++table) {
    const RowStore& store = embedding.store(table);
    const auto stored = std::ranges::find(manifest.tables, store.spec().name, &ManifestTable::name);
    RONDO_CHECK(stored != manifest.tables.end(), "table ", store.spec().name);
    for (const ManifestPart& part : stored->parts) {
      if (overlap(part.buckets, store.range())) wanted[part.file].emplace_back(table, &part);
    }
  }
  for (const auto& [file, parts] : wanted) {
    const auto path = checkpoint / file;
    const Hdf5Reader reader(path);
    for (const auto& [table, part] : parts) {
      RowStore& store = embedding.store(table);
      StoredPart(reader, path, *part, store.spec()).load_into(store);
    }
  }
}

}  // namespace rondo
