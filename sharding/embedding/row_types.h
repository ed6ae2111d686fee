#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>

#include "sharding/base/check.h"
#include "sharding/base/half.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

/// Values of 16 bits, which a step rounds.
template <typename V>
inline constexpr bool kRounds = sizeof(V) == sizeof(uint16_t);

/// Calls body(V{}) with the type of values in memory.
template <typename Body>
void with_row_type(RowType type, const Body& body) {
  switch (type) {
    case RowType::kFloat32:
      return body(float{});
    case RowType::kFloat64:
      return body(double{});
    case RowType::kFloat16:
      return body(Float16{});
    case RowType::kBFloat16:
      return body(BFloat16{});
  }
}

/// Calls body(T{}) with the type of what rows are computed in: fp32 or fp64.
template <typename Body>
void with_type(at::ScalarType type, const Body& body) {
  if (type == at::kDouble) return body(double{});
  RONDO_CHECK_EQ(type, at::kFloat);
  body(float{});
}

}  // namespace rondo
