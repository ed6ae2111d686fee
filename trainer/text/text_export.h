#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "trainer/storage/file_system.h"
#include "trainer/text/text_folder.h"
#include "trainer/tokenizer/word_piece.h"

namespace rondo {

/// A text model to be written as others save it.
struct TextExport {
  TextTowerOptions tower;
  TextWeights weights;  // of the tower, without prefix
  TextWeights classifier = {};
  std::vector<std::string> labels = {};
  int64_t max_tokens = 0;
};

/// Writes the folder that transformers loads (config.json, model.safetensors, the tokenizer) and, but for a classifier
/// or BERT's pooler, sentence-transformers too (modules.json, pooling, Dense for a projection, Normalize).
/// `read_text_folder` gives the same back. REQUIRES: a tokenizer with at most the tower's entries.
void write_text_folder(const TextExport& model, const WordPiece& tokenizer, const std::filesystem::path& folder,
                       FileSystem& files);

}  // namespace rondo
