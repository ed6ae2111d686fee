#include "sharding/base/permutation.h"

#include <bit>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {

Permutation::Permutation(uint64_t size, uint64_t seed) : size_(size) {
  RONDO_CHECK(size > 0 && size <= (uint64_t{1} << 62), "size ", size);
  half_bits_ = (static_cast<int>(std::bit_width(size - 1)) + 1) / 2;
  half_mask_ = (uint64_t{1} << half_bits_) - 1;
  for (int round = 0; round < kRounds; ++round) keys_[round] = mix64(seed + static_cast<uint64_t>(round) + 1);
}

uint64_t Permutation::encrypt(uint64_t value) const {
  uint64_t left = value >> half_bits_, right = value & half_mask_;
  for (const uint64_t key : keys_) {
    const uint64_t next = left ^ (mix64(right ^ key) & half_mask_);
    left = right;
    right = next;
  }
  return (left << half_bits_) | right;
}

uint64_t Permutation::decrypt(uint64_t value) const {
  uint64_t left = value >> half_bits_, right = value & half_mask_;
  for (int round = kRounds - 1; round >= 0; --round) {
    const uint64_t previous = right ^ (mix64(left ^ keys_[round]) & half_mask_);
    right = left;
    left = previous;
  }
  return (left << half_bits_) | right;
}

uint64_t Permutation::operator()(uint64_t index) const {
  RONDO_CHECK_LT(index, size_);
  do index = encrypt(index);
  while (index >= size_);
  return index;
}

uint64_t Permutation::inverse(uint64_t image) const {
  RONDO_CHECK_LT(image, size_);
  do image = decrypt(image);
  while (image >= size_);
  return image;
}

}  // namespace rondo
