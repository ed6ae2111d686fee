#pragma once

#include <cstdint>

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

}  // namespace rondo
