#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "trainer/data/catalog.h"
#include "trainer/data/schema.h"

namespace rondo {

/// How raw strings become row keys. `hash` is replaced in tests that force collisions.
struct KeyRule {
  KeyKind kind = KeyKind::kText;
  uint64_t salt = 0;
  uint64_t (*hash)(std::string_view text, uint64_t salt) = nullptr;  // null: hash_bytes
};

/// The row key of a raw string; nothing when it should be a whole number and is none.
std::optional<uint64_t> row_key(std::string_view raw, const KeyRule& rule);

/// Raw strings seen so far with their keys; index in order of first sight.
class KeyDictionary {
 public:
  explicit KeyDictionary(std::string what, const KeyRule& rule) : what_(std::move(what)), rule_(rule) {}

  /// Index of `raw`, new or known; nothing when it is no key. Throws DataError naming both strings when two of them
  /// have one key.
  std::optional<int32_t> intern(std::string_view raw);

  int64_t size() const { return static_cast<int64_t>(keys_.size()); }
  const std::vector<uint64_t>& keys() const { return keys_; }
  const TextColumn& raw() const { return raw_; }

 private:
  std::string what_;  // "item", "user": for messages
  KeyRule rule_;
  std::vector<uint64_t> keys_;
  TextColumn raw_;
  std::unordered_map<uint64_t, int32_t> places_;
};

/// Adds one text at the end.
void append_text(std::string_view text, TextColumn& column);

}  // namespace rondo
