#pragma once

#include <cstdint>

#include "sharding/base/hash.h"

namespace rondo {

/// Why a random number is drawn. Two purposes never share numbers. The values are part of what a seed means: add at
/// the end, never renumber.
enum class RandomPurpose : uint32_t {
  kInitialRow = 1,
  kInitialParameter = 2,
  kExampleOrder = 3,
  kDropout = 4,
  kIdDropout = 5,
  kNegative = 6,
  kRounding = 7,
  kSplit = 8,
  kSample = 9,
  kBootstrap = 10,
  kSynth = 11,
  kTest = 12,
};

/// Random numbers as a pure function of (seed, step, purpose, key, element): no state, no order of calls, so a result
/// does not depend on the number of ranks or threads (DESIGN 3).
///
/// `key` is independent of the world: the global index of an example, the digest of a text, a row key.
/// For one key, elements 0, 1, 2, ... are the SplitMix64 sequence that starts at the hash of the rest.
class CounterRandom {
 public:
  /// Step of SplitMix64, for kernels that draw several elements at once.
  static constexpr uint64_t kGamma = 0x9e3779b97f4a7c15ULL;

  constexpr CounterRandom(uint64_t seed, uint64_t step, RandomPurpose purpose)
      : base_(mix64(mix64(mix64(seed + kGamma) + step) + static_cast<uint64_t>(purpose) * kGamma)) {}

  /// The start of the sequence of `key`; `bits_at` of it saves the hash of the key in a loop over elements.
  constexpr uint64_t sequence(uint64_t key) const { return mix64(base_ ^ mix64(key + kGamma)); }

  static constexpr uint64_t bits_at(uint64_t sequence, uint64_t element) {
    return mix64(sequence + (element + 1) * kGamma);
  }

  constexpr uint64_t bits(uint64_t key, uint64_t element) const { return bits_at(sequence(key), element); }

  /// In [0, 1), a multiple of 2^-53.
  static constexpr double to_unit(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1.0p-53; }
  constexpr double uniform(uint64_t key, uint64_t element) const { return to_unit(bits(key, element)); }

  /// In [0, bound), without noticeable bias for bounds below 2^40. REQUIRES: bound > 0.
  constexpr uint64_t below(uint64_t bound, uint64_t key, uint64_t element) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(bits(key, element)) * bound) >> 64);
  }

  /// Standard normal (Box and Muller 1958, the cosine half).
  double normal(uint64_t key, uint64_t element) const;

 private:
  uint64_t base_;
};

}  // namespace rondo
