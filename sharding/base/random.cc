#include "sharding/base/random.h"

#include <cmath>
#include <numbers>

namespace rondo {

double CounterRandom::normal(uint64_t key, uint64_t element) const {
  const uint64_t start = sequence(key);
  const double radius = 1.0 - to_unit(bits_at(start, 2 * element));  // in (0, 1]
  const double angle = to_unit(bits_at(start, 2 * element + 1));
  return std::sqrt(-2.0 * std::log(radius)) * std::cos(2.0 * std::numbers::pi * angle);
}

}  // namespace rondo
