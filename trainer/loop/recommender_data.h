#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "trainer/data/catalog.h"
#include "trainer/data/event_log.h"
#include "trainer/data/split.h"
#include "trainer/model/item_features.h"

namespace rondo {

/// Which data a model is trained and evaluated on.
struct DataOptions {
  std::filesystem::path dataset;      ///< folder that ingest wrote
  std::optional<SplitOptions> split;  ///< none: the dataset's own
  std::filesystem::path vocabulary;   ///< as `read_tokenizer_at` takes it; empty: vocab.txt in the dataset folder
  bool lowercase = true;
  bool needs_text = true;  ///< tokens are made only for a model that reads them
  int64_t max_tokens = 32;
};

/// A dataset in memory, on every rank.
struct RecommenderData {
  Catalog catalog;
  EventLog events;
  SplitOptions split_options;
  Split split;
  ItemTokens tokens;
  int64_t vocabulary_size = 0;  // 0: no text
  std::string tokenizer;        // tokenizer.json, kept with a checkpoint
};

/// Opens the dataset; rank 0 makes the token file when there is none. Collective. Throws DataError, StorageError, and
/// ConfigError when a text tower has no vocabulary.
RecommenderData open_data(const DataOptions& options, Communicator& comm, Progress& progress);

/// Name of the vocabulary in a dataset folder.
constexpr char kVocabularyFile[] = "vocab.txt";

/// Name of the tokenizer in a checkpoint.
constexpr char kTokenizerFile[] = "tokenizer.json";

}  // namespace rondo
