#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

#include "sharding/plan/table_spec.h"

namespace rondo {

/// Of values in memory, and of what they are computed with.
at::ScalarType scalar_type(RowType type);
at::ScalarType compute_type(RowType type);

/// Type of the numbers of a message that carries `type`. REQUIRES: no codec, or fp32 and 16-bit types.
at::ScalarType wire_type(WireCodec codec, at::ScalarType type);

/// Copies `count` numbers, which may be fp32, fp16 and bf16 on either side, or fp64 on both. To 16 bits it rounds to
/// nearest (base/half.h): relative error at most 2^-11 in the normal range of fp16, 2^-8 in that of bf16.
using NumberCopy = void (*)(const void* from, void* to, int64_t count);

/// Throws InternalError for a pair that is not one of these.
NumberCopy number_copy(at::ScalarType from, at::ScalarType to);

}  // namespace rondo
