#pragma once

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace rondo {

/// Can values of this type be summed over ranks: fp32, fp64, int64?
bool is_summable(at::ScalarType dtype);

/// out[i] = ((addends[0][i] + addends[1][i]) + addends[2][i]) + ..., `count` elements each. `out` may be one of the
/// addends. int64 wraps around. REQUIRES: is_summable(dtype), at least one addend.
void add_in_rank_order(std::span<const std::byte* const> addends, std::byte* out, int64_t count, at::ScalarType dtype);

}  // namespace rondo
