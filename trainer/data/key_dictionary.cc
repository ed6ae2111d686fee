#include "trainer/data/key_dictionary.h"

#include <charconv>
#include <limits>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {

void append_text(std::string_view text, TextColumn& column) {
  column.bytes.insert(column.bytes.end(), text.begin(), text.end());
  column.offsets.push_back(static_cast<int64_t>(column.bytes.size()));
}

std::optional<uint64_t> row_key(std::string_view raw, const KeyRule& rule) {
  if (rule.kind == KeyKind::kText) return rule.hash != nullptr ? rule.hash(raw, rule.salt) : hash_bytes(raw, rule.salt);
  uint64_t number = 0;
  const auto result = std::from_chars(raw.data(), raw.data() + raw.size(), number);
  if (result.ec != std::errc() || result.ptr != raw.data() + raw.size()) return std::nullopt;
  return number;
}

std::optional<int32_t> KeyDictionary::intern(std::string_view raw) {
  const auto key = row_key(raw, rule_);
  if (!key) return std::nullopt;
  const auto [entry, is_new] = places_.try_emplace(*key, static_cast<int32_t>(keys_.size()));
  if (is_new) {
    if (keys_.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
      throw DataError(concat("more than 2^31 different ", what_, "s in one dataset"));
    }
    keys_.push_back(*key);
    append_text(raw, raw_);
  } else if (rule_.kind == KeyKind::kText && raw_.at(entry->second) != raw) {
    throw DataError(concat("two ", what_, "s have one row key: \"", raw_.at(entry->second), "\" and \"", raw,
                           "\". Another schema.salt than ", rule_.salt, " solves it"));
  }
  return entry->second;
}

}  // namespace rondo
