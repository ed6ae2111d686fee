#pragma once

#include <cstdint>

namespace rondo {

/// A random-looking bijection of [0, size) as a pure function of (size, seed), without a table: a Feistel network of
/// four rounds over the next power of four, walked until it lands inside (Black and Rogaway 2002, "cycle walking").
/// Used for the order of examples and for the layout of dense tables.
class Permutation {
 public:
  /// REQUIRES: 0 < size <= 2^62.
  Permutation(uint64_t size, uint64_t seed);

  uint64_t size() const { return size_; }

  /// REQUIRES: index < size(). Fewer than four walks on average.
  uint64_t operator()(uint64_t index) const;

  /// inverse((*this)(i)) == i.
  uint64_t inverse(uint64_t image) const;

 private:
  static constexpr int kRounds = 4;

  uint64_t encrypt(uint64_t value) const;
  uint64_t decrypt(uint64_t value) const;

  uint64_t size_;
  int half_bits_;
  uint64_t half_mask_;
  uint64_t keys_[kRounds];
};

}  // namespace rondo
