#pragma once

#include <cstdint>
#include <string_view>

namespace rondo {

/// Bijective mix of 64 bits: the finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014; variant 13 of Stafford).
constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// XXH3 of the bytes, seeded. Stable over machines and releases: row keys are made with it.
uint64_t hash_bytes(std::string_view bytes, uint64_t seed = 0);

}  // namespace rondo
