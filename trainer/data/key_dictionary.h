#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/catalog.h"
#include "trainer/data/key_table.h"
#include "trainer/data/schema.h"

namespace rondo {

/// How raw strings become row keys. `hash` is replaced in tests that force collisions.
struct KeyRule {
  KeyKind kind = KeyKind::kText;
  uint64_t salt = 0;
  uint64_t (*hash)(std::string_view text, uint64_t salt) = nullptr;  // null: hash_bytes
};

/// Raw strings seen so far with their row keys; places in order of first sight. Memory grows with the distinct strings.
class KeyDictionary {
 public:
  /// `what` names what the keys are of in messages: "item", "user".
  KeyDictionary(std::string_view what, const KeyRule& rule);

  /// Takes over what another ingest has seen, as if it were interned in this order.
  void restore(const std::vector<uint64_t>& keys, const TextColumn& raw);

  /// The row key of a raw string, or why it has none ("empty item", "item is no whole number", "item out of range").
  struct Key {
    uint64_t key = 0;
    std::string_view rejected = {};
  };
  Key key_of(std::string_view raw) const;

  /// Place of `raw`, whose key it is, new or known. Throws DataError naming both strings when two have one key.
  int32_t intern(uint64_t key, std::string_view raw);

  int64_t size() const { return static_cast<int64_t>(keys_.size()); }
  const std::vector<uint64_t>& keys() const { return keys_; }
  const TextColumn& raw() const { return raw_; }

 private:
  std::string what_;
  KeyRule rule_;
  std::string empty_, no_number_, out_of_range_;  // reasons
  std::vector<uint64_t> keys_;
  TextColumn raw_;
  KeyTable places_;
};

}  // namespace rondo
