#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "trainer/data/hidden_items.h"
#include "trainer/data/split.h"
#include "trainer/tokenizer/token_file.h"
#include "trainer/tokenizer/word_piece.h"

namespace rondo {

/// Which data a model is trained and evaluated on.
struct DataOptions {
  std::filesystem::path dataset;      ///< folder that ingest wrote
  std::optional<SplitOptions> split;  ///< none: the dataset's own
  HiddenItemOptions hidden_items;     ///< that a recommender is not to know
  std::filesystem::path vocabulary;   ///< as `read_tokenizer_at` takes it; empty: vocab.txt in the dataset folder
  bool lowercase = true;
  bool needs_text = true;  ///< tokens are made only for a model that reads them
  int64_t max_tokens = 32;
};

/// Name of the vocabulary in a dataset folder.
constexpr char kVocabularyFile[] = "vocab.txt";

/// Name of the tokenizer in a checkpoint.
constexpr char kTokenizerFile[] = "tokenizer.json";

/// The tokenizer of the options. Throws ConfigError when there is no vocabulary.
WordPiece open_tokenizer(const DataOptions& options);

/// The tokens of a dataset's texts; rank 0 makes the file when there is none. Collective.
TokenFile open_tokens(const std::filesystem::path& dataset, const WordPiece& tokenizer, const TokenSource& source,
                      Communicator& comm, Progress& progress);

}  // namespace rondo
