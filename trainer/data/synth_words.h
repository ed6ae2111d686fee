#pragma once

#include <cstdint>
#include <string>

#include "sharding/base/random.h"
#include "trainer/data/synth_shop.h"

namespace rondo {

/// What a catalogue says of the items of a synthetic shop. Words of an item's type, style and material stand among
/// words that say nothing, so that a reader of texts can tell what an item that nobody has bought yet is like. Plain
/// ASCII without quotes or commas.
class SynthWords {
 public:
  /// Keeps a reference to `shop`.
  SynthWords(const SynthShop& shop, uint64_t seed) : shop_(shop), random_(seed, 2, RandomPurpose::kSynth) {}

  /// Append to `text`.
  void append_title(int64_t item, std::string& text) const;
  void append_description(int64_t item, std::string& text) const;
  void append_category(int64_t item, std::string& text) const;  // the department of its type
  void append_brand(int64_t item, std::string& text) const;     // most often one of its style's

  /// Dear styles cost more.
  int64_t price_cents(int64_t item) const;

 private:
  const SynthShop& shop_;
  CounterRandom random_;
};

}  // namespace rondo
