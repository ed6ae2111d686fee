#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sharding/base/random.h"
#include "trainer/data/synth.h"

namespace rondo {

/// The hidden structure of a synthetic shop. A pure function of (seed, items).
class SynthShop {
 public:
  SynthShop(uint64_t seed, int64_t items);

  int64_t items() const { return static_cast<int64_t>(style_.size()); }
  int64_t styles() const { return static_cast<int64_t>(by_style_.size()); }

  std::string title(int64_t item) const;
  std::string description(int64_t item) const;
  std::string category(int64_t item) const;
  std::string brand(int64_t item) const;
  int64_t price_cents(int64_t item) const;
  int64_t style(int64_t item) const { return style_[static_cast<size_t>(item)]; }

  /// First share of the time line, in 1/65536, at which the item is sold.
  uint32_t appears_at(int64_t item) const { return appears_at_[static_cast<size_t>(item)]; }

  /// An item of a style that is sold at `now` (1/65536 of the time line), by popularity; `draw` is 64 random bits.
  int64_t pick(int64_t style, uint32_t now, uint64_t draw) const;

 private:
  struct StyleItems {
    std::vector<int64_t> items;     // ascending in appears_at
    std::vector<uint64_t> weights;  // cumulative popularity
  };

  CounterRandom random_;
  std::vector<int32_t> style_;
  std::vector<uint32_t> appears_at_;
  std::vector<StyleItems> by_style_;
};

}  // namespace rondo
