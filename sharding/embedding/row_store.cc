#include "sharding/embedding/row_store.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>
#include <variant>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "sharding/embedding/dense_slots.h"
#include "sharding/embedding/device_rows.h"
#include "sharding/embedding/key_index.h"
#include "sharding/embedding/record_launch.h"
#include "sharding/embedding/row_blocks.h"
#include "sharding/embedding/row_kernels.h"
#include "sharding/embedding/row_types.h"
#include "sharding/exchange/wire_codec.h"
#include "sharding/plan/key_placement.h"

namespace rondo {
namespace {

constexpr int64_t kRowGrain = 256;
constexpr int64_t kChunk = 16;  // rows that are fetched while the chunk before is worked on

using Slots = std::variant<KeyIndex, DenseSlots>;

const TableSpec& validated(const TableSpec& spec) {
  validate(spec);
  return spec;
}

Slots make_slots(const TableSpec& spec, BucketRange range, const KeyPlacement& placement) {
  if (spec.key_space == KeySpace::kDense) return DenseSlots(range, placement.layout());
  return KeyIndex(range, spec.buckets);
}

int64_t expected_rows(const TableSpec& spec, BucketRange range, const Slots& slots) {
  if (const auto* dense = std::get_if<DenseSlots>(&slots)) return std::max<int64_t>(1, dense->capacity());
  return spec.rows * (range.last - range.first) / spec.buckets;
}

}  // namespace

struct RowStore::Impl {
  Impl(const TableSpec& table, const Shard& shard, uint64_t seed, DeviceStaging* staging)
      : spec(validated(table)),
        range(shard.buckets),
        columns(shard.columns),
        table_seed(seed ^ hash_bytes(spec.name)),
        placement(spec, 1),
        layout(spec, columns.count()),
        slots(make_slots(spec, range, placement)),
        blocks(layout, expected_rows(spec, range, slots)) {
    RONDO_CHECK(range.first >= 0 && range.first <= range.last && range.last <= spec.buckets, "[", range.first, ", ",
                range.last, ") of ", spec.buckets);
    RONDO_CHECK(columns.first >= 0 && columns.first < columns.last && columns.last <= spec.dim, "columns [",
                columns.first, ", ", columns.last, ") of ", spec.dim);
    if (staging == nullptr) return;
    RONDO_CHECK_EQ(columns.count(), spec.dim, "rows on a device are whole");
    device = std::make_unique<DeviceRows>(*staging, spec, table_seed, expected_rows(spec, range, slots));
  }

  at::ScalarType type() const { return scalar_type(spec.row_type); }
  at::ScalarType compute_type() const { return rondo::compute_type(spec.row_type); }
  void find(std::span<const uint64_t> keys, std::span<int64_t> found) const;
  std::vector<KeySlot> entries_of(BucketRange wanted) const;
  InsertedKey insert(uint64_t key);

  float count_at(const std::byte* row, int64_t step) const;
  void touch(std::byte* row, int64_t step, int64_t occurrences) const;

  template <typename Body>
  void for_each_chunk(std::span<const int64_t> wanted, ByteRange fetched, const Body& body) const;
  void initialise(std::span<const KeySlot> fresh) const;
  void fill(std::span<const int64_t> filled, const BucketRows& rows) const;
  template <typename V>
  void initialise_row(uint64_t sequence, std::byte* row) const;
  template <typename V>
  void update(const RowUpdate& update) const;
  template <typename T>
  double norm_square(const RowUpdate& update) const;
  template <typename T>
  const T* gradient_of(const RowUpdate& update, int64_t row) const;
  template <typename T>
  void measure(const RowUpdate& update, int64_t first, std::span<T> squares) const;
  template <typename T>
  T mean_square(const RowUpdate& update, int64_t row, T square) const;
  template <typename T>
  T row_factor(T mean_square) const;
  template <typename T>
  [[noreturn]] void refuse_gradient(const RowUpdate& update, int64_t row) const;
  void check_gradients(const RowUpdate& update) const;
  uint64_t key_of(int64_t slot) const;

  TableSpec spec;
  BucketRange range;
  ColumnRange columns;
  uint64_t table_seed;
  KeyPlacement placement;
  RowLayout layout;
  Slots slots;
  RowBlocks blocks;
  std::unique_ptr<DeviceRows> device;  // null: the rows are in `blocks`
};

void RowStore::Impl::find(std::span<const uint64_t> keys, std::span<int64_t> found) const {
  placement.check_keys(keys);
  std::visit([&](const auto& map) { map.find(keys, found); }, slots);
}

std::vector<KeySlot> RowStore::Impl::entries_of(BucketRange wanted) const {
  RONDO_CHECK(range.first <= wanted.first && wanted.first <= wanted.last && wanted.last <= range.last, "buckets [",
              wanted.first, ", ", wanted.last, ") of table ", spec.name);
  return std::visit([&](const auto& map) { return map.entries_of(wanted); }, slots);
}

InsertedKey RowStore::Impl::insert(uint64_t key) {
  const InsertedKey inserted = std::visit([&](auto& map) { return map.insert(key); }, slots);
  if (inserted.fresh) device ? device->allocate(inserted.slot) : blocks.allocate(inserted.slot);
  return inserted;
}

/// The count after `step`, had nothing occurred since the row's version.
float RowStore::Impl::count_at(const std::byte* row, int64_t step) const {
  const auto count = load_as<float>(row + layout.count_offset);
  return decayed_count(count, step - load_as<int64_t>(row + layout.version_offset), spec.count_decay);
}

void RowStore::Impl::touch(std::byte* row, int64_t step, int64_t occurrences) const {
  store_as(row + layout.count_offset, raised_count(count_at(row, step), occurrences, spec.count_decay));
  store_as(row + layout.version_offset, step);
}

/// Calls body(first, count, rows) for runs of `wanted`, in parallel, while the bytes `fetched` of the next run's rows
/// come to the cache. rows[i] is null for slot -1.
template <typename Body>
void RowStore::Impl::for_each_chunk(std::span<const int64_t> wanted, ByteRange fetched, const Body& body) const {
  parallel_for(static_cast<int64_t>(wanted.size()), kRowGrain, [&](int64_t begin, int64_t end) {
    std::byte* rows[2][kChunk];
    const auto fetch_chunk = [&](int64_t first, std::byte** chunk) {
      for (int64_t i = first; i < std::min(end, first + kChunk); ++i) {
        std::byte* const row = wanted[i] < 0 ? nullptr : blocks.row(wanted[i]);
        chunk[i - first] = row;
        if (row == nullptr) continue;
        fetch_bytes(row, fetched);
      }
    };
    fetch_chunk(begin, rows[0]);
    for (int64_t first = begin, turn = 0; first < end; first += kChunk, turn ^= 1) {
      fetch_chunk(first + kChunk, rows[turn ^ 1]);
      body(first, std::min(kChunk, end - first), rows[turn]);
    }
  });
}

template <typename V>
void RowStore::Impl::initialise_row(uint64_t sequence, std::byte* row) const {
  V* const values = reinterpret_cast<V*>(row);
  for (int64_t c = 0; c < columns.count(); ++c) {
    values[c] = initial_value<V>(sequence, columns.first + c, spec.initial_scale);
  }
  std::memset(row + layout.state_offset, 0, static_cast<size_t>(layout.state_bytes()));
  store_as(row + layout.count_offset, 0.0F);
  store_as(row + layout.version_offset, int64_t{0});
}

void RowStore::Impl::initialise(std::span<const KeySlot> fresh) const {
  if (device) return device->initialise(fresh);
  const CounterRandom random(table_seed, 0, RandomPurpose::kInitialRow);
  with_row_type(spec.row_type, [&]<typename V>(V) {
    parallel_for(static_cast<int64_t>(fresh.size()), kRowGrain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) initialise_row<V>(random.sequence(fresh[i].key), blocks.row(fresh[i].slot));
    });
  });
}

/// Row i of `rows` into the record of filled[i].
void RowStore::Impl::fill(std::span<const int64_t> filled, const BucketRows& rows) const {
  const auto* const values = static_cast<const std::byte*>(rows.values.const_data_ptr());
  const auto* const state = static_cast<const std::byte*>(rows.state.const_data_ptr());
  std::vector<std::byte> packed(device ? filled.size() * static_cast<size_t>(layout.record_bytes) : 0);
  parallel_for(static_cast<int64_t>(filled.size()), kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::byte* const row = device ? packed.data() + i * layout.record_bytes : blocks.row(filled[i]);
      std::copy_n(values + i * layout.values_bytes, layout.values_bytes, row);
      std::copy_n(state + i * layout.state_bytes(), layout.state_bytes(), row + layout.state_offset);
      store_as(row + layout.count_offset, rows.counts[i]);
      store_as(row + layout.version_offset, rows.versions[i]);
    }
  });
  if (device) device->write(filled, packed);
}

void RowStore::Impl::check_gradients(const RowUpdate& update) const {
  const auto rows = static_cast<int64_t>(update.slots.size());
  if (update.gradients.defined()) {
    check_matrix(update.gradients, rows, columns.count(), compute_type());
  } else {
    RONDO_CHECK(update.gradient_rows.size() == update.slots.size() && (update.squares != nullptr || rows == 0),
                "gradients of table ", spec.name);
  }
  RONDO_CHECK(columns.count() == spec.dim || !takes_mean_squares(spec.optimizer) || update.mean_squares != nullptr,
              "mean squares of table ", spec.name);
}

/// Of row `row` of `update`: [columns].
template <typename T>
const T* RowStore::Impl::gradient_of(const RowUpdate& update, int64_t row) const {
  return update.gradients.defined() ? update.gradients.const_data_ptr<T>() + row * columns.count()
                                    : static_cast<const T*>(update.gradient_rows[static_cast<size_t>(row)]);
}

/// Sums of squares of the columns held, or the mean squares that are given, of rows [first, first + squares.size()) of
/// `update`; left as they are when nothing asks for them.
template <typename T>
void RowStore::Impl::measure(const RowUpdate& update, int64_t first, std::span<T> squares) const {
  const auto count = static_cast<int64_t>(squares.size());
  if (update.mean_squares != nullptr || update.squares != nullptr) {
    const void* const given = update.mean_squares != nullptr ? update.mean_squares : update.squares;
    std::copy_n(static_cast<const T*>(given) + first, count, squares.data());
  } else if (spec.optimizer.check_finite || takes_mean_squares(spec.optimizer)) {
    sums_of_squares(gradient_of<T>(update, first), count, columns.count(), squares.data());
  }
  if (!spec.optimizer.check_finite) return;
  for (int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(squares[i])) [[unlikely]]
      refuse_gradient<T>(update, first + i);
  }
}

/// Of the whole row, which may have more columns than `square` is of.
template <typename T>
T RowStore::Impl::mean_square(const RowUpdate& update, int64_t row, T square) const {
  return update.mean_squares != nullptr ? static_cast<const T*>(update.mean_squares)[row]
                                        : square / static_cast<T>(columns.count());
}

/// Of clipping by row.
template <typename T>
T RowStore::Impl::row_factor(T mean_square) const {
  return clipping_factor(static_cast<T>(spec.dim) * mean_square, static_cast<T>(spec.optimizer.clip_norm));
}

template <typename T>
void RowStore::Impl::refuse_gradient(const RowUpdate& update, int64_t row) const {
  const T* const gradient = gradient_of<T>(update, row);
  const T* const end = gradient + columns.count();
  const T* worst = std::find_if(gradient, end, [](T g) { return !std::isfinite(g); });
  if (worst == end) {
    worst = std::max_element(gradient, end, [](T a, T b) { return std::abs(a) < std::abs(b); });
  }
  throw DataError(concat("table \"", spec.name, "\": the gradient of key ",
                         static_cast<int64_t>(key_of(update.slots[static_cast<size_t>(row)])), " is ", *worst,
                         " in column ", columns.first + (worst - gradient), " at step ", update.step, " on rank ",
                         update.rank,
                         "; rows learn from finite gradients only. Training diverged (lower the learning rates), or "
                         "a loss or an input is not finite"));
}

/// Slow; for messages.
uint64_t RowStore::Impl::key_of(int64_t slot) const {
  const std::vector<KeySlot> entries = entries_of(range);
  const auto entry = std::ranges::find(entries, slot, &KeySlot::slot);
  RONDO_CHECK(entry != entries.end(), "slot ", slot, " of table ", spec.name);
  return entry->key;
}

template <typename V>
void RowStore::Impl::update(const RowUpdate& update) const {
  using T = ComputeType<V>;
  const auto step = make_row_step<T>(spec.optimizer, update.step, update.learning_rate_factor);
  const CounterRandom rounding(table_seed, static_cast<uint64_t>(update.step), RandomPurpose::kRounding);
  const auto factor = static_cast<T>(update.gradient_factor);
  const int64_t width = columns.count();
  for_each_chunk(update.slots, {0, layout.record_bytes}, [&](int64_t first, int64_t count, std::byte* const* rows) {
    T squares[kChunk] = {};
    measure<T>(update, first, {squares, static_cast<size_t>(count)});
    LearningRow<V> learning[kChunk];
    for (int64_t i = 0; i < count; ++i) {
      const T square = mean_square(update, first + i, squares[i]);
      learning[i] = {.values = reinterpret_cast<V*>(rows[i]),
                     .state = reinterpret_cast<T*>(rows[i] + layout.state_offset),
                     .gradient = gradient_of<T>(update, first + i),
                     .scale = factor * row_factor(square),
                     .mean_square = square};
      if constexpr (kRounds<V>) {
        learning[i].rounding = rounding.sequence(update.keys[first + i]);
        learning[i].first_column = columns.first;
      }
    }
    update_rows<V>(step, {learning, static_cast<size_t>(count)}, width);
    for (int64_t i = 0; i < count; ++i) touch(rows[i], update.step, update.occurrences[first + i]);
  });
}

/// In chunks of rows, so that the order of summation does not depend on the number of threads.
template <typename T>
double RowStore::Impl::norm_square(const RowUpdate& update) const {
  const auto rows = static_cast<int64_t>(update.slots.size());
  const T* const gradients = update.gradients.const_data_ptr<T>();
  std::vector<double> parts(static_cast<size_t>((rows + kRowGrain - 1) / kRowGrain), 0.0);
  parallel_for(rows, kRowGrain, [&](int64_t begin, int64_t end) {
    T squares[kRowGrain];
    sums_of_squares(gradients + begin * columns.count(), end - begin, columns.count(), squares);
    for (int64_t i = begin; i < end; ++i) {
      const T square = squares[i - begin];
      const auto factor = static_cast<double>(row_factor(mean_square(update, i, square)));
      parts[static_cast<size_t>(begin / kRowGrain)] += factor * factor * static_cast<double>(square);
    }
  });
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

RowStore::RowStore(const TableSpec& spec, BucketRange range, ColumnRange columns, uint64_t seed, DeviceStaging* staging)
    : impl_(std::make_unique<Impl>(spec, Shard{range, columns}, seed, staging)) {}
RowStore::~RowStore() = default;
RowStore::RowStore(RowStore&&) noexcept = default;

const TableSpec& RowStore::spec() const { return impl_->spec; }
BucketRange RowStore::range() const { return impl_->range; }
ColumnRange RowStore::columns() const { return impl_->columns; }
DeviceRows* RowStore::device() const { return impl_->device.get(); }

int64_t RowStore::rows() const {
  return std::visit([](const auto& map) { return map.size(); }, impl_->slots);
}

int64_t RowStore::memory_bytes() const {
  const int64_t records = impl_->device ? impl_->device->memory_bytes() : impl_->blocks.memory_bytes();
  return records + std::visit([](const auto& map) { return map.memory_bytes(); }, impl_->slots);
}

void RowStore::find(std::span<const uint64_t> keys, std::span<int64_t> slots) const { impl_->find(keys, slots); }

void RowStore::find_or_create(std::span<const uint64_t> keys, std::span<int64_t> slots) {
  impl_->find(keys, slots);
  std::vector<KeySlot> fresh;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (slots[i] >= 0) continue;
    const InsertedKey inserted = impl_->insert(keys[i]);
    slots[i] = inserted.slot;
    if (inserted.fresh) fresh.push_back({keys[i], inserted.slot});
  }
  impl_->initialise(fresh);
}

void RowStore::gather(std::span<const int64_t> slots, at::Tensor& values) const {
  if (impl_->device) return impl_->device->gather(slots, values);
  check_matrix(values, static_cast<int64_t>(slots.size()), impl_->columns.count(), values.scalar_type());
  const NumberCopy copy = number_copy(impl_->type(), values.scalar_type());
  const int64_t width = impl_->columns.count(), bytes = width * static_cast<int64_t>(values.element_size());
  auto* const to = static_cast<std::byte*>(values.data_ptr());
  impl_->for_each_chunk(slots, {0, impl_->layout.values_bytes},
                        [&](int64_t first, int64_t count, std::byte* const* rows) {
                          for (int64_t i = 0; i < count; ++i) {
                            std::byte* const target = to + (first + i) * bytes;
                            rows[i] == nullptr ? static_cast<void>(std::memset(target, 0, static_cast<size_t>(bytes)))
                                               : copy(rows[i], target, width);
                          }
                        });
}

void RowStore::addresses(std::span<const int64_t> slots, const void* absent, std::span<const void*> values) const {
  for (size_t i = 0; i < slots.size(); ++i) values[i] = slots[i] < 0 ? absent : impl_->blocks.row(slots[i]);
}

void RowStore::fetch(std::span<const int64_t> slots) const {
  for (const int64_t slot : slots) fetch_bytes(impl_->blocks.row(slot), {0, impl_->layout.record_bytes});
}

void RowStore::statistics(std::span<const int64_t> slots, int64_t step, std::span<float> counts,
                          std::span<uint8_t> trained) const {
  RONDO_CHECK(slots.size() == counts.size() && slots.size() == trained.size(), "of ", slots.size(), " slots");
  const RowLayout& layout = impl_->layout;
  impl_->for_each_chunk(
      slots, {layout.count_offset, layout.record_bytes}, [&](int64_t first, int64_t count, std::byte* const* rows) {
        for (int64_t i = 0; i < count; ++i) {
          counts[first + i] = rows[i] == nullptr ? 0.0F : impl_->count_at(rows[i], step - 1);
          trained[first + i] = rows[i] != nullptr && load_as<int64_t>(rows[i] + layout.version_offset) > 0;
        }
      });
}

double RowStore::norm_square(const RowUpdate& update) const {
  impl_->check_gradients(update);
  return impl_->spec.row_type == RowType::kFloat64 ? impl_->norm_square<double>(update)
                                                   : impl_->norm_square<float>(update);
}

void RowStore::update(const RowUpdate& update) {
  RONDO_CHECK(impl_->spec.optimizer.kind != RowOptimizerKind::kNone, "table ", impl_->spec.name);
  RONDO_CHECK_GE(update.step, 1);
  if (impl_->device) return impl_->device->update(update);
  RONDO_CHECK_EQ(update.occurrences.size(), update.slots.size());
  RONDO_CHECK(update.gradient_factor >= 0.0 && update.gradient_factor <= 1.0, "factor ", update.gradient_factor);
  impl_->check_gradients(update);
  with_row_type(impl_->spec.row_type, [&]<typename V>(V) {
    RONDO_CHECK(!kRounds<V> || update.keys.size() == update.slots.size(), "keys of table ", impl_->spec.name);
    impl_->update<V>(update);
  });
}

void RowStore::assign(std::span<const int64_t> slots, const at::Tensor& values, int64_t step) {
  RONDO_CHECK_GE(step, 1);
  check_matrix(values, static_cast<int64_t>(slots.size()), impl_->columns.count(), values.scalar_type());
  const NumberCopy copy = number_copy(values.scalar_type(), impl_->type());
  const int64_t width = impl_->columns.count(), bytes = width * static_cast<int64_t>(values.element_size());
  const at::Tensor here = values.cpu();
  const auto* const from = static_cast<const std::byte*>(here.const_data_ptr());
  const auto write = [&](int64_t first, int64_t count, std::byte* const* rows) {
    for (int64_t i = 0; i < count; ++i) {
      copy(from + (first + i) * bytes, rows[i], width);
      impl_->touch(rows[i], step, 0);
    }
  };
  if (!impl_->device) return impl_->for_each_chunk(slots, {0, impl_->layout.values_bytes}, write);
  std::vector<std::byte> records = impl_->device->read(slots);
  std::byte* row = records.data();
  for (size_t i = 0; i < slots.size(); ++i, row += impl_->layout.record_bytes) write(static_cast<int64_t>(i), 1, &row);
  impl_->device->write(slots, records);
}

BucketRows RowStore::export_bucket(int64_t bucket) const { return export_buckets({bucket, bucket + 1}).rows; }

BucketRangeRows RowStore::export_buckets(BucketRange range) const {
  const std::vector<KeySlot> entries = impl_->entries_of(range);
  const RowLayout& layout = impl_->layout;
  const auto count = static_cast<int64_t>(entries.size());
  const auto packed = impl_->device ? impl_->device->read(slots_of(entries)) : std::vector<std::byte>();
  BucketRows rows{.keys = std::vector<uint64_t>(entries.size()),
                  .values = at::empty({count, impl_->columns.count()}, impl_->type()),
                  .state = at::empty({count, layout.state_width}, impl_->compute_type()),
                  .counts = std::vector<float>(entries.size()),
                  .versions = std::vector<int64_t>(entries.size())};
  auto* const values = static_cast<std::byte*>(rows.values.data_ptr());
  auto* const state = static_cast<std::byte*>(rows.state.data_ptr());
  parallel_for(count, kRowGrain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::byte* const row =
          impl_->device ? packed.data() + i * layout.record_bytes : impl_->blocks.row(entries[i].slot);
      rows.keys[i] = entries[i].key;
      std::copy_n(row, layout.values_bytes, values + i * layout.values_bytes);
      std::copy_n(row + layout.state_offset, layout.state_bytes(), state + i * layout.state_bytes());
      rows.counts[i] = load_as<float>(row + layout.count_offset);
      rows.versions[i] = load_as<int64_t>(row + layout.version_offset);
    }
  });
  std::vector<int64_t> offsets(static_cast<size_t>(range.last - range.first + 1), 0);
  for (const KeySlot& entry : entries) ++offsets[impl_->placement.bucket(entry.key) - range.first + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  return {range, std::move(offsets), std::move(rows)};
}

void RowStore::import_bucket(int64_t bucket, const BucketRows& rows) {
  import_buckets({{bucket, bucket + 1}, {0, static_cast<int64_t>(rows.keys.size())}, rows});
}

void RowStore::import_buckets(const BucketRangeRows& buckets) {
  const BucketRange range = buckets.range;
  const BucketRows& rows = buckets.rows;
  RONDO_CHECK(impl_->entries_of(range).empty(), "buckets [", range.first, ", ", range.last, ") of table ",
              impl_->spec.name, " have rows");
  const auto count = static_cast<int64_t>(rows.keys.size());
  RONDO_CHECK_EQ(static_cast<int64_t>(buckets.offsets.size()), range.last - range.first + 1);
  RONDO_CHECK(
      buckets.offsets.front() == 0 && buckets.offsets.back() == count && std::ranges::is_sorted(buckets.offsets),
      "offsets of ", count, " rows");
  impl_->placement.check_keys(rows.keys);
  for (int64_t b = 0; b < range.last - range.first; ++b) {
    for (int64_t i = buckets.offsets[b]; i < buckets.offsets[b + 1]; ++i) {
      RONDO_CHECK_EQ(impl_->placement.bucket(rows.keys[i]), range.first + b, "key ", rows.keys[i]);
    }
  }
  import_rows(rows);
}

void RowStore::import_rows(const BucketRows& rows) {
  const auto count = static_cast<int64_t>(rows.keys.size());
  check_matrix(rows.values, count, impl_->columns.count(), impl_->type());
  check_matrix(rows.state, count, impl_->layout.state_width, impl_->compute_type());
  RONDO_CHECK_EQ(rows.counts.size(), rows.keys.size());
  RONDO_CHECK_EQ(rows.versions.size(), rows.keys.size());
  impl_->placement.check_keys(rows.keys);
  std::vector<int64_t> slots(rows.keys.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    const InsertedKey inserted = impl_->insert(rows.keys[i]);
    RONDO_CHECK(inserted.fresh, "key ", rows.keys[i], " has a row in table ", impl_->spec.name);
    slots[i] = inserted.slot;
  }
  impl_->fill(slots, rows);
}

}  // namespace rondo
