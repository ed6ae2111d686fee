#include "sharding/embedding/row_blocks.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <new>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr int64_t kBlockBytes = 16 << 20;
constexpr size_t kHugePageBytes = 2 << 20;
constexpr size_t kCacheLineBytes = 64;
constexpr int64_t kFewestRows = 64;

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

RowLayout::RowLayout(const TableSpec& spec, int64_t columns) {
  const int64_t scalar = std::max<int64_t>(sizeof(float), bytes_of(spec.row_type));  // of the state
  state_width = rondo::state_width(spec.optimizer.kind, columns);
  values_bytes = columns * bytes_of(spec.row_type);
  state_offset = round_up(values_bytes, scalar);
  count_offset = state_offset + state_width * scalar;
  version_offset = round_up(count_offset + static_cast<int64_t>(sizeof(float)), sizeof(int64_t));
  record_bytes = version_offset + static_cast<int64_t>(sizeof(int64_t));
}

int records_shift(const RowLayout& layout, int64_t expected_rows, int64_t block_bytes) {
  const int64_t largest = std::max<int64_t>(1, block_bytes / layout.record_bytes);
  const int64_t rows =
      expected_rows == 0 ? largest : std::clamp(expected_rows, std::min(kFewestRows, largest), largest);
  return std::bit_width(static_cast<uint64_t>(rows)) - 1;
}

RowBlocks::RowBlocks(const RowLayout& layout, int64_t expected_rows)
    : record_bytes_(layout.record_bytes),
      shift_(records_shift(layout, expected_rows, kBlockBytes)),
      mask_((int64_t{1} << shift_) - 1) {}

void RowBlocks::allocate(int64_t slot) {
  const auto index = static_cast<size_t>(slot >> shift_);
  if (index >= blocks_.size()) blocks_.resize(index + 1);
  if (blocks_[index]) return;
  const int64_t bytes = record_bytes_ << shift_;
  const bool huge = bytes >= static_cast<int64_t>(kHugePageBytes);
  const auto size = static_cast<size_t>(bytes);
  void* block = nullptr;
  if (posix_memalign(&block, huge ? kHugePageBytes : kCacheLineBytes, size) != 0) throw std::bad_alloc();
  // Random access to rows is bound by address translation; a refusal costs speed only.
  if (huge) madvise(block, size, MADV_HUGEPAGE);
  blocks_[index].reset(static_cast<std::byte*>(block));
  ++allocated_;
}

}  // namespace rondo
