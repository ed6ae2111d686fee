#include "sharding/comm/rank_order_sum.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"

namespace rondo {
namespace {

constexpr int64_t kBlock = 1'024;   // elements whose sum is kept in the first-level cache
constexpr int64_t kGrain = 65'536;  // elements a thread takes at once

template <typename T>
void add_block(std::span<const std::byte* const> addends, std::byte* out, int64_t begin, int64_t count) {
  // Wraps around where a signed sum would be undefined.
  using Sum = typename std::conditional_t<std::is_integral_v<T>, std::make_unsigned<T>, std::type_identity<T>>::type;
  std::array<Sum, kBlock> sum;
  const auto* first = reinterpret_cast<const Sum*>(addends[0]) + begin;
  std::copy(first, first + count, sum.begin());
  for (const std::byte* addend : addends.subspan(1)) {
    const auto* values = reinterpret_cast<const Sum*>(addend) + begin;
    for (int64_t i = 0; i < count; ++i) sum[i] += values[i];
  }
  std::copy(sum.begin(), sum.begin() + count, reinterpret_cast<Sum*>(out) + begin);
}

template <typename T>
void add(std::span<const std::byte* const> addends, std::byte* out, int64_t count) {
  parallel_for(count, kGrain, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; block += kBlock) {
      add_block<T>(addends, out, block, std::min(kBlock, end - block));
    }
  });
}

}  // namespace

bool is_summable(at::ScalarType dtype) {
  return dtype == at::ScalarType::Float || dtype == at::ScalarType::Double || dtype == at::ScalarType::Long;
}

void add_in_rank_order(std::span<const std::byte* const> addends, std::byte* out, int64_t count, at::ScalarType dtype) {
  RONDO_CHECK(is_summable(dtype), "dtype ", c10::toString(dtype));
  switch (dtype) {
    case at::ScalarType::Float:
      return add<float>(addends, out, count);
    case at::ScalarType::Double:
      return add<double>(addends, out, count);
    default:
      return add<int64_t>(addends, out, count);
  }
}

}  // namespace rondo
