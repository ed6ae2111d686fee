#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/data/key_table.h"

namespace rondo {

/// Texts, one after the other: text i is bytes [offsets[i], offsets[i + 1]).
struct TextColumn {
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets{0};  // [n + 1]

  std::string_view at(int64_t i) const {
    const auto* begin = reinterpret_cast<const char*>(bytes.data());
    return {begin + offsets[static_cast<size_t>(i)],
            static_cast<size_t>(offsets[static_cast<size_t>(i) + 1] - offsets[static_cast<size_t>(i)])};
  }
};

/// Adds one text at the end.
void append_text(std::string_view text, TextColumn& column);

/// A categorical feature of items: a bag of keys an item; empty: absent. Keys are row keys of the feature's own table.
struct BagColumn {
  std::string name;              // as in the schema: "category", "brand"
  std::vector<int64_t> offsets;  // [items + 1]
  std::vector<uint64_t> keys;    // [offsets[items]]

  std::vector<uint64_t> value_keys = {};  // [v], the distinct keys ...
  TextColumn values = {};                 // [v], ... and what the source calls them
};

/// The items of a dataset: `catalog.h5`. An item's place (its position here) is an index into this dataset only; what
/// is kept elsewhere is its row key. Layout (texts as `bytes` and `offsets`):
///
///   items/keys uint64 [items]; items/raw_keys, items/titles, items/texts: texts [items]
///   features/names: texts [f]; features/<i>/offsets int64 [items + 1], features/<i>/keys uint64,
///   features/<i>/value_keys uint64 [v], features/<i>/values: texts [v]
///   attribute format_version
class Catalog {
 public:
  /// Throws DataError (kMissingInput) or StorageError naming the file.
  static Catalog open(const std::filesystem::path& dataset_folder);

  /// Writes a new file; it must not exist. Durable on return.
  void save(const std::filesystem::path& path) const;

  int64_t items() const { return static_cast<int64_t>(keys.size()); }

  /// Place of a row key, -1 if absent.
  int64_t find(uint64_t key) const { return places_.find(key); }

  std::vector<uint64_t> keys;  // [items], row keys, distinct
  TextColumn raw_keys;         // as in the source
  TextColumn titles;           // what a person is shown; may be empty
  TextColumn texts;            // what the text tower reads: the schema's text columns, joined
  std::vector<BagColumn> bags;
  std::string digest;  // SHA-256 of the file

  /// Makes `find` work for a catalogue that was filled by hand. Throws DataError when two items have one key.
  void build_index();

 private:
  KeyTable places_;
};

}  // namespace rondo
