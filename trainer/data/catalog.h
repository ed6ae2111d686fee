#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

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

/// A categorical feature of items: a bag of keys an item; empty: absent. Keys are row keys of the feature's own table.
struct BagColumn {
  std::string name;              // as in the schema: "category", "brand"
  std::vector<int64_t> offsets;  // [items + 1]
  std::vector<uint64_t> keys;    // [offsets[items]]
};

/// The items of a dataset: `catalog.h5`. An item's place (its position here) is an index into this dataset only; what
/// is kept elsewhere is its row key.
class Catalog {
 public:
  /// Throws DataError (kMissingInput) or StorageError naming the file.
  static Catalog open(const std::filesystem::path& dataset_folder);

  /// Writes the file; it must not exist.
  void save(const std::filesystem::path& path) const;

  int64_t items() const { return static_cast<int64_t>(keys.size()); }

  /// Place of a row key, -1 if absent.
  int64_t find(uint64_t key) const;

  std::vector<uint64_t> keys;  // [items], row keys, distinct
  TextColumn raw_keys;         // as in the source
  TextColumn titles;           // what a person is shown; may be empty
  TextColumn texts;            // what the text tower reads: the schema's text columns, joined
  std::vector<BagColumn> bags;
  std::string digest;  // SHA-256 of the file

  void build_index();  // for a catalogue that was filled by hand (tests)

 private:
  std::unordered_map<uint64_t, int64_t> places_;
};

}  // namespace rondo
