#pragma once

#include <cstdint>

namespace rondo {

/// Memory of this process that is in RAM, as the kernel counts it; 0 where it does not say.
struct MemoryUse {
  int64_t resident_bytes = 0;
  int64_t peak_bytes = 0;  // most so far
};

MemoryUse memory_use();

}  // namespace rondo
