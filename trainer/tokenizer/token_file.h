#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sharding/base/progress.h"
#include "trainer/storage/file_system.h"
#include "trainer/tokenizer/word_piece.h"

namespace rondo {

/// What a token file is made of: the same three give the same file.
struct TokenSource {
  TextsView texts;
  std::string digest = {};  // of the texts, as the dataset states it (SHA-256 of catalog.h5)
  int64_t max_tokens = 0;   // a text is cut to this many, [CLS] and [SEP] included; 0: never
};

/// The tokens of a catalogue's texts, [CLS] and [SEP] included: `tokens-<tokenizer hash>.h5` (16 digits of it) in a
/// dataset folder. Derived from the catalogue and the tokenizer, so it is made on demand and may be removed. Layout:
///
///   tokens    uint16 [total] below 65,536 entries, else int32
///   offsets   int64 [texts + 1]
///   attributes tokenizer_hash, source_digest, max_tokens
///
/// Held in memory as in the file. Reading is for any thread.
class TokenFile {
 public:
  /// Reads the file of `folder` if it is whole and of this tokenizer and source, else makes it: written beside,
  /// durable, then renamed, so that a reader sees the old or the new one. Several processes at once make the same file.
  /// Throws StorageError.
  static TokenFile open_or_make(const std::filesystem::path& folder, const WordPiece& tokenizer,
                                const TokenSource& source, FileSystem& files, Progress& progress);

  /// Throws StorageError for a damaged file, DataError (kMissingInput) if there is none.
  static TokenFile open(const std::filesystem::path& path);

  static std::filesystem::path path_in(const std::filesystem::path& folder, const WordPiece& tokenizer);

  int64_t texts() const { return static_cast<int64_t>(offsets_.size()) - 1; }
  int64_t total_tokens() const { return offsets_.back(); }
  int64_t tokens_of(int64_t text) const {
    return offsets_[static_cast<size_t>(text) + 1] - offsets_[static_cast<size_t>(text)];
  }

  /// Adds the tokens of a text at the end of `ids`. REQUIRES: 0 <= text < texts().
  void append_to(int64_t text, std::vector<int32_t>& ids) const;

  const std::string& tokenizer_hash() const { return tokenizer_hash_; }
  const std::string& source_digest() const { return source_digest_; }
  int64_t max_tokens() const { return max_tokens_; }

 private:
  TokenFile() = default;
  bool is_of(const WordPiece& tokenizer, const TokenSource& source) const;

  std::vector<uint16_t> narrow_;  // one of the two holds the tokens
  std::vector<int32_t> wide_;
  std::vector<int64_t> offsets_{0};
  std::string tokenizer_hash_;
  std::string source_digest_;
  int64_t max_tokens_ = 0;
};

}  // namespace rondo
