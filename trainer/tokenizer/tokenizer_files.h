#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "trainer/tokenizer/vocabulary.h"
#include "trainer/tokenizer/word_piece.h"

namespace rondo {

/// A BERT tokenizer as files of Hugging Face describe it.
struct SavedTokenizer {
  Vocabulary vocabulary;  // the model's entries, then added tokens
  WordPieceOptions options;
  int64_t max_tokens = 0;  // longest text with its special tokens, `model_max_length`; 0: the files do not say
};

/// Reads a tokenizer.json. Padding and truncation in it are the caller's affair and not looked at. Throws DataError
/// "file: path: expected ..., found ..." for what is no BERT tokenizer, and for what would give other tokens than
/// `tokenizers` gives: another normaliser, pre-tokenizer, model or template, a single_word token, ids with large holes.
SavedTokenizer parse_tokenizer_json(std::string_view text, const std::string& file);

/// Reads the tokenizer of a model's folder: tokenizer.json, else vocab.txt with what tokenizer_config.json says. Throws
/// DataError as above; kMissingInput if neither is there.
SavedTokenizer read_tokenizer(const std::filesystem::path& folder);

/// Reads a tokenizer by its path: a folder as above, a tokenizer.json, or any other file as a vocab.txt that says
/// nothing of its normaliser but `lowercase`.
SavedTokenizer read_tokenizer_at(const std::filesystem::path& path, bool lowercase);

/// The tokenizer.json of a tokenizer. Read again it gives the same tokens, and the same hash unless an entry of the
/// vocabulary stands twice.
std::string tokenizer_json(const WordPiece& tokenizer);

/// What goes beside it: the tokenizer_config.json that transformers expects.
std::string tokenizer_config_json(const WordPiece& tokenizer, int64_t max_tokens);

}  // namespace rondo
