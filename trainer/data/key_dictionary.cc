#include "trainer/data/key_dictionary.h"

#include <charconv>
#include <limits>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

/// Keys travel as int64.
constexpr uint64_t kLargestNumber = std::numeric_limits<int64_t>::max();

}  // namespace

KeyDictionary::KeyDictionary(std::string_view what, const KeyRule& rule)
    : what_(what),
      rule_(rule),
      empty_(concat("empty ", what)),
      no_number_(concat(what, " is no whole number")),
      out_of_range_(concat(what, " out of range")) {}

void KeyDictionary::restore(const std::vector<uint64_t>& keys, const TextColumn& raw) {
  for (size_t i = 0; i < keys.size(); ++i) intern(keys[i], raw.at(static_cast<int64_t>(i)));
}

KeyDictionary::Key KeyDictionary::key_of(std::string_view raw) const {
  if (raw.empty()) return {0, empty_};
  if (rule_.kind == KeyKind::kText) {
    return {rule_.hash != nullptr ? rule_.hash(raw, rule_.salt) : hash_bytes(raw, rule_.salt)};
  }
  uint64_t number = 0;
  const auto result = std::from_chars(raw.data(), raw.data() + raw.size(), number);
  if (result.ptr != raw.data() + raw.size() || result.ec == std::errc::invalid_argument) return {0, no_number_};
  if (raw.size() > 1 && raw.front() == '0') return {0, no_number_};  // "007" is another text than "7"
  if (result.ec == std::errc::result_out_of_range || number > kLargestNumber) return {0, out_of_range_};
  return {number};
}

int32_t KeyDictionary::intern(uint64_t key, std::string_view raw) {
  const auto [place, is_new] = places_.insert(key);
  if (is_new) {
    if (place == std::numeric_limits<int32_t>::max()) {
      throw DataError(concat("a dataset holds at most 2^31 - 1 different ", what_, "s"));
    }
    keys_.push_back(key);
    append_text(raw, raw_);
  } else if (raw_.at(place) != raw) {
    throw DataError(concat("two ", what_, "s have one row key: \"", raw_.at(place), "\" and \"", raw,
                           "\". Another schema.salt than ", rule_.salt, " solves it"));
  }
  return place;
}

}  // namespace rondo
