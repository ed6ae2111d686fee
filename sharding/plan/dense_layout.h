#pragma once

#include <cstdint>

#include "sharding/plan/table_spec.h"

namespace rondo {

/// Where the keys 0 .. rows-1 of a dense table lie: a bijection of keys to places 0 .. rows-1 that scatters
/// neighbours, and buckets that are runs of places, of nearly equal size. No table, no division per key.
///
/// A function of (rows, buckets) alone: it is part of what a checkpoint of a dense table means.
class DenseLayout {
 public:
  /// REQUIRES: 1 <= rows <= 2^40, buckets a power of two up to 2^22.
  DenseLayout(int64_t rows, int64_t buckets);

  int64_t rows() const { return static_cast<int64_t>(rows_); }

  /// REQUIRES: key < rows().
  int64_t place(uint64_t key) const {
    do key = scatter(key);
    while (key >= rows_);
    return static_cast<int64_t>(key);
  }

  /// place(key(p)) == p.
  uint64_t key(int64_t place) const;

  /// Bucket of a place: never decreases from place to place.
  int64_t bucket(int64_t place) const {
    return static_cast<int64_t>((static_cast<unsigned __int128>(place) * buckets_per_row_) >> kFractionBits);
  }

  /// Smallest place of `bucket`, or of the next one that has any; rows() for `bucket` == buckets.
  int64_t first_place(int64_t bucket) const;

 private:
  static constexpr int kFractionBits = 40;

  /// A bijection of [0, mask_]; the walk over it until it lands in [0, rows_) takes fewer than two turns on average.
  uint64_t scatter(uint64_t value) const {
    value = (value * kFirstFactor) & mask_;
    value ^= value >> shift_;
    return (value * kSecondFactor) & mask_;
  }

  static constexpr uint64_t kFirstFactor = 0x9e3779b97f4a7c15ULL;
  static constexpr uint64_t kSecondFactor = 0xd1b54a32d192ed03ULL;

  uint64_t rows_;
  uint64_t buckets_;
  uint64_t mask_;             // 2^bits - 1 >= rows - 1
  int shift_;                 // at least half of the bits: the shift undoes itself
  uint64_t buckets_per_row_;  // fixed point, kFractionBits
};

}  // namespace rondo
