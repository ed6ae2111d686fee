#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "trainer/tokenizer/word_reader.h"

namespace rondo {

/// The entries of a WordPiece vocabulary: an entry's id is its line in `vocab.txt`. Immutable.
class Vocabulary {
 public:
  /// The special tokens, in the order in which a learned vocabulary begins.
  static const std::vector<std::string>& special_tokens();  // [PAD] [UNK] [CLS] [SEP] [MASK]

  /// Throws DataError if [UNK], [CLS] or [SEP] is missing, or an entry is not UTF-8 or holds a line end; `name` says
  /// where the entries are from. An entry that stands twice keeps its last id, as with the reference.
  explicit Vocabulary(std::vector<std::string> entries, const std::string& name = "vocabulary");

  /// The content of a vocab.txt: one entry a line, LF or CR LF, the last line with or without one.
  static Vocabulary parse(std::string_view text, const std::string& name);

  /// Throws DataError (kMissingInput) if there is no such file.
  static Vocabulary read(const std::filesystem::path& path);

  /// What `parse` reads.
  std::string text() const;

  int32_t size() const { return static_cast<int32_t>(entries_.size()); }
  const std::string& entry(int32_t id) const { return entries_.at(static_cast<size_t>(id)); }

  /// Id of an entry, -1 if absent.
  int32_t find(const std::string& entry) const;

  int32_t unknown() const { return unknown_; }
  int32_t cls() const { return cls_; }
  int32_t sep() const { return sep_; }

  /// The special tokens that it holds.
  WordRules::SpecialTokens special_ids() const;

  /// SHA-256 of `text()`, hexadecimal.
  const std::string& hash() const { return hash_; }

 private:
  std::vector<std::string> entries_;
  std::unordered_map<std::string, int32_t> ids_;
  int32_t unknown_ = -1;
  int32_t cls_ = -1;
  int32_t sep_ = -1;
  std::string hash_;
};

}  // namespace rondo
