#include "sharding/plan/dense_layout.h"

#include <algorithm>
#include <bit>

#include "sharding/base/check.h"

namespace rondo {
namespace {

/// factor * inverse == 1 modulo 2^64, for an odd factor (Newton; every turn doubles the bits that are right).
constexpr uint64_t inverse_of(uint64_t factor) {
  uint64_t inverse = factor;  // right in 3 bits
  for (int turn = 0; turn < 5; ++turn) inverse *= 2 - factor * inverse;
  return inverse;
}

}  // namespace

DenseLayout::DenseLayout(int64_t rows, int64_t buckets)
    : rows_(static_cast<uint64_t>(rows)), buckets_(static_cast<uint64_t>(buckets)) {
  RONDO_CHECK(rows >= 1 && rows <= (int64_t{1} << 40), "rows ", rows);
  RONDO_CHECK(std::has_single_bit(buckets_) && buckets <= (int64_t{1} << 22), "buckets ", buckets);
  const int bits = std::max(1, static_cast<int>(std::bit_width(rows_ - 1)));
  mask_ = (uint64_t{1} << bits) - 1;
  shift_ = (bits + 1) / 2;
  buckets_per_row_ = (buckets_ << kFractionBits) / rows_;
}

uint64_t DenseLayout::key(int64_t place) const {
  constexpr uint64_t kFirstInverse = inverse_of(kFirstFactor), kSecondInverse = inverse_of(kSecondFactor);
  auto value = static_cast<uint64_t>(place);
  do {
    value = (value * kSecondInverse) & mask_;
    value ^= value >> shift_;
    value = (value * kFirstInverse) & mask_;
  } while (value >= rows_);
  return value;
}

int64_t DenseLayout::first_place(int64_t bucket) const {
  // The smallest p with p * buckets_per_row >= bucket * 2^kFractionBits.
  const unsigned __int128 reached = static_cast<unsigned __int128>(bucket) << kFractionBits;
  const auto first = static_cast<uint64_t>((reached + buckets_per_row_ - 1) / buckets_per_row_);
  return static_cast<int64_t>(std::min(first, rows_));
}

}  // namespace rondo
