#include "sharding/embedding/device_rows.h"

#include <ATen/ops/empty.h>

#include <limits>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/embedding/row_types.h"
#include "sharding/exchange/wire_codec.h"

namespace rondo {
namespace {

constexpr int64_t kBlockBytes = int64_t{64} << 20;
constexpr int64_t kNoneRefused = std::numeric_limits<int64_t>::max();

}  // namespace

std::vector<int64_t> slots_of(std::span<const KeySlot> entries) {
  std::vector<int64_t> slots;
  for (const KeySlot& entry : entries) slots.push_back(entry.slot);
  return slots;
}

void check_matrix(const at::Tensor& values, int64_t rows, int64_t columns, at::ScalarType type) {
  RONDO_CHECK(values.scalar_type() == type && values.is_contiguous(), "of ", values.scalar_type());
  RONDO_CHECK(values.dim() == 2 && values.size(0) == rows && values.size(1) == columns, "shape ", values.sizes(),
              ", expected [", rows, ", ", columns, "]");
}

DeviceRows::DeviceRows(DeviceStaging& staging, const TableSpec& spec, uint64_t table_seed, int64_t expected_rows)
    : staging_(staging),
      spec_(spec),
      table_seed_(table_seed),
      layout_(spec, spec.dim),
      shift_(records_shift(layout_, expected_rows, kBlockBytes)) {
  const CudaApi& cuda = staging_.device().cuda;
  refused_ = allocate_device(cuda, sizeof(int64_t));
  refused_here_ = allocate_pinned(cuda, sizeof(int64_t));
  told_ = make_event(cuda);
}

void DeviceRows::allocate(int64_t slot) {
  const auto block = static_cast<size_t>(slot >> shift_);
  if (block >= addresses_.size()) addresses_.resize(block + 1, nullptr);
  if (addresses_[block] != nullptr) return;
  blocks_.push_back(allocate_device(staging_.device().cuda, layout_.record_bytes << shift_));
  addresses_[block] = static_cast<std::byte*>(blocks_.back().get());
}

template <typename V>
RowRecords<V> DeviceRows::table() {
  return {.blocks = staging_.upload(std::span<std::byte* const>(addresses_)),
          .shift = shift_,
          .record_bytes = layout_.record_bytes,
          .state_offset = layout_.state_offset,
          .count_offset = layout_.count_offset,
          .version_offset = layout_.version_offset};
}

void DeviceRows::initialise(std::span<const KeySlot> fresh) {
  if (fresh.empty()) return;
  const std::vector<int64_t> slots = slots_of(fresh);
  std::vector<uint64_t> keys;
  for (const KeySlot& entry : fresh) keys.push_back(entry.key);
  with_row_type(spec_.row_type, [&]<typename V>(V) {
    staging_.launch(InitialRows<V>{.table = table<V>(),
                                   .slots = staging_.upload(std::span<const int64_t>(slots)),
                                   .keys = staging_.upload(std::span<const uint64_t>(keys)),
                                   .rows = static_cast<int64_t>(slots.size()),
                                   .dim = spec_.dim,
                                   .scale = spec_.initial_scale,
                                   .random = CounterRandom(table_seed_, 0, RandomPurpose::kInitialRow)});
  });
}

void DeviceRows::gather(std::span<const int64_t> slots, at::Tensor& values) {
  check_matrix(values, static_cast<int64_t>(slots.size()), spec_.dim, values.scalar_type());
  if (slots.empty()) return;
  const at::ScalarType type = compute_type(spec_.row_type);
  const bool as_is = values.scalar_type() == type;
  const at::Tensor rows = as_is ? values : at::empty(values.sizes(), values.options().dtype(type));
  with_row_type(spec_.row_type, [&]<typename V>(V) {
    staging_.launch(Lookup<V>{.table = table<V>(),
                              .slots = staging_.upload(slots),
                              .rows = static_cast<int64_t>(slots.size()),
                              .dim = spec_.dim,
                              .out = rows.mutable_data_ptr<ComputeType<V>>()});
  });
  if (!as_is) values.copy_(rows);
}

void DeviceRows::tell_counts(std::span<const int64_t> slots, int64_t step, const at::Tensor& out) {
  RONDO_CHECK(out.is_contiguous() && out.size(0) == static_cast<int64_t>(slots.size()), "shape ", out.sizes());
  if (slots.empty()) return;
  with_row_type(spec_.row_type, [&]<typename V>(V) {
    staging_.launch(RowCounts<V>{.table = table<V>(),
                                 .slots = staging_.upload(slots),
                                 .rows = static_cast<int64_t>(slots.size()),
                                 .step = step,
                                 .count_decay = spec_.count_decay,
                                 .out = static_cast<std::byte*>(out.data_ptr()),
                                 .out_stride = out.size(1) * static_cast<int64_t>(out.element_size())});
  });
}

template <typename V>
void DeviceRows::update_as(const RowUpdate& update) {
  using T = ComputeType<V>;
  const CudaApi& cuda = staging_.device().cuda;
  const CudaStream stream = staging_.device().compute_stream;
  int64_t* refused = nullptr;
  if (spec_.optimizer.check_finite) {
    refused = static_cast<int64_t*>(refused_.get());
    const int64_t* const none = staging_.upload(std::span(&kNoneRefused, 1));
    check_cuda(cuda, cuda.memcpy_async(refused, none, sizeof(int64_t), stream), "cudaMemcpyAsync");
  }
  const CounterRandom rounding(table_seed_, static_cast<uint64_t>(update.step), RandomPurpose::kRounding);
  staging_.launch(RowUpdates<V>{.table = table<V>(),
                                .step = make_row_step<T>(spec_.optimizer, update.step, update.learning_rate_factor),
                                .slots = staging_.upload(update.slots),
                                .keys = kRounds<V> ? staging_.upload(update.keys) : nullptr,
                                .occurrences = staging_.upload(update.occurrences),
                                .gradients = update.gradients.const_data_ptr<T>(),
                                .rows = static_cast<int64_t>(update.slots.size()),
                                .dim = spec_.dim,
                                .number = update.step,
                                .factor = T{1},
                                .clip_norm = static_cast<T>(spec_.optimizer.clip_norm),
                                .count_decay = spec_.count_decay,
                                .rounding = rounding,
                                .refused = refused});
  if (refused == nullptr) return;
  check_cuda(cuda, cuda.memcpy_async(refused_here_.get(), refused, sizeof(int64_t), stream), "cudaMemcpyAsync");
  check_cuda(cuda, cuda.event_record(told_.get(), stream), "cudaEventRecord");
  pending_ = Pending{{update.keys.begin(), update.keys.end()}, update.step, update.rank};
}

void DeviceRows::update(const RowUpdate& update) {
  report_refused();
  if (update.slots.empty()) return;
  RONDO_CHECK_EQ(update.occurrences.size(), update.slots.size());
  RONDO_CHECK_EQ(update.keys.size(), update.slots.size(), "keys of table ", spec_.name);
  RONDO_CHECK(update.gradient_factor == 1.0 && update.mean_squares == nullptr && update.gradients.defined(), "table ",
              spec_.name);
  check_matrix(update.gradients, static_cast<int64_t>(update.slots.size()), spec_.dim, compute_type(spec_.row_type));
  with_row_type(spec_.row_type, [&]<typename V>(V) { update_as<V>(update); });
  report_refused();
}

void DeviceRows::report_refused() {
  if (!pending_) return;
  const CudaApi& cuda = staging_.device().cuda;
  const CudaStatus status = cuda.event_query(told_.get());
  if (status == kCudaNotReady) return;
  check_cuda(cuda, status, "cudaEventQuery", "in the update of rows");
  const Pending update = std::move(*pending_);
  pending_.reset();
  const int64_t row = load_as<int64_t>(static_cast<const std::byte*>(refused_here_.get()));
  if (row == kNoneRefused) return;
  throw DataError(concat("table \"", spec_.name, "\": the gradient of key ",
                         static_cast<int64_t>(update.keys.at(static_cast<size_t>(row))), " is not finite at step ",
                         update.step, " on rank ", update.rank,
                         "; rows learn from finite gradients only. Training diverged (lower the learning rates), or "
                         "a loss or an input is not finite"));
}

void DeviceRows::move(std::span<const int64_t> slots, std::byte* packed, bool into_table) {
  staging_.launch(RecordCopies{.table = table<std::byte>(),
                               .slots = staging_.upload(slots),
                               .rows = static_cast<int64_t>(slots.size()),
                               .packed = packed,
                               .into_table = into_table});
}

std::vector<std::byte> DeviceRows::read(std::span<const int64_t> slots) {
  std::vector<std::byte> records(slots.size() * static_cast<size_t>(layout_.record_bytes));
  if (slots.empty()) return records;
  const auto bytes = static_cast<int64_t>(records.size());
  std::byte* const packed = staging_.scratch(bytes);
  move(slots, packed, /*into_table=*/false);
  staging_.download(records.data(), packed, bytes);
  staging_.start_round();
  return records;
}

void DeviceRows::write(std::span<const int64_t> slots, std::span<const std::byte> records) {
  RONDO_CHECK_EQ(records.size(), slots.size() * static_cast<size_t>(layout_.record_bytes));
  if (slots.empty()) return;
  move(slots, staging_.upload(records), /*into_table=*/true);
  staging_.start_round();
}

}  // namespace rondo
