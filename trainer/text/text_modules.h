#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "trainer/storage/json_document.h"
#include "trainer/text/text_folder.h"

namespace rondo {

/// What the small files of a model's folder say; parts of `read_text_folder`, which states what is refused.

/// Where the encoder's files are: the folder itself, or the one that the first module of modules.json names.
std::filesystem::path encoder_folder(const std::filesystem::path& path);

/// The shape in a config.json of BERT; absent fields have BERT's defaults.
TextTowerOptions read_bert_config(const JsonValue& config);

/// `id2label` of a config.json, in the order of the ids; empty without.
std::vector<std::string> read_labels(const JsonValue& config);

/// modules.json of sentence-transformers and what it names: pooling, a Dense module (the tower's projection),
/// normalisation and the longest text. Nothing where there is none.
void read_modules(const std::filesystem::path& path, TextFolder& folder);

}  // namespace rondo
