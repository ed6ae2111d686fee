#pragma once

#include <cstddef>
#include <cstring>

namespace rondo {

/// As memcpy, but pointers of empty containers, which may be null, are fine when there is nothing to copy.
inline void copy_bytes(const void* from, size_t count, void* to) {
  if (count > 0) std::memcpy(to, from, count);
}

}  // namespace rondo
