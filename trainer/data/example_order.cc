#include "trainer/data/example_order.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "sharding/base/random.h"

namespace rondo {

BatchRange next_range(DataCursor& cursor, int64_t global_batch, int64_t examples) {
  RONDO_CHECK(cursor.next >= 0 && cursor.next < examples, "cursor at ", cursor.next, " of ", examples, " examples");
  RONDO_CHECK_GE(global_batch, 1);
  const BatchRange range{cursor.epoch, cursor.next, std::min(global_batch, examples - cursor.next)};
  cursor.next += range.size;
  if (cursor.next == examples) cursor = {cursor.epoch + 1, 0};
  return range;
}

Permutation epoch_order(int64_t examples, int64_t epoch, uint64_t seed) {
  const CounterRandom random(seed, static_cast<uint64_t>(epoch), RandomPurpose::kExampleOrder);
  return {static_cast<uint64_t>(examples), random.bits(0, 0)};
}

}  // namespace rondo
