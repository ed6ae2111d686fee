#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "sharding/base/random.h"
#include "trainer/nn/packed_rows.h"
#include "trainer/nn/parameter.h"

namespace rondo {

/// One place of a network where elements are dropped in one step.
///
/// Whether an element is kept is a pure function of (seed, step, site, digest of its text, row, column): it depends
/// neither on the text's neighbours nor on the rank. One 64-bit draw serves four elements, 16 bits each: with
/// words = ceil(width / 4), element (row, column) is lane column % 4 (lowest bits first) of draw
/// row * words + column / 4 of the text's stream, and it is kept where that lane is at least `threshold()`.
class DropoutSite {
 public:
  /// Drops nothing.
  DropoutSite() : DropoutSite(0.0, StepContext{}, 0) {}

  /// Drops with `probability`, rounded to a multiple of 2^-16, when the context is training. `site` tells the places
  /// of one network apart. REQUIRES: 0 <= probability < 1.
  DropoutSite(double probability, const StepContext& context, uint64_t site);

  bool active() const { return threshold_ > 0; }
  uint32_t threshold() const { return threshold_; }

  /// What a kept element is multiplied by: one over the probability to be kept.
  double scale() const { return 65536.0 / (65536.0 - threshold_); }

  /// Start of a text's stream, for CounterRandom::bits_at.
  uint64_t stream(uint64_t digest) const { return random_.sequence(mix64(digest) ^ site_key_); }

  /// The streams of a batch's texts; empty where nothing is dropped.
  std::vector<uint64_t> streams(const PackedRows& rows) const;

  static int64_t words(int64_t width) { return (width + 3) / 4; }

 private:
  CounterRandom random_;
  uint64_t site_key_;
  uint32_t threshold_;
};

/// A site and the batch that it drops from.
struct PackedDropout {
  PackedRowsPtr rows;
  DropoutSite site;
};

/// The factors of every element, [rows, width]: 0 or `scale()`; row = position within the text. Plain; the kernels
/// draw the same while they compute.
at::Tensor dropout_factors(const PackedDropout& dropout, int64_t width, at::ScalarType dtype);

/// The factors of one text's block [rows, width].
at::Tensor dropout_factors(const DropoutSite& site, uint64_t digest, int64_t rows, int64_t width, at::ScalarType dtype);

}  // namespace rondo
