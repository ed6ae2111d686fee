#pragma once

#include <cstdint>
#include <string>

#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "trainer/data/catalog.h"
#include "trainer/data/event_log.h"
#include "trainer/data/split.h"
#include "trainer/loop/dataset_tokens.h"
#include "trainer/model/item_features.h"

namespace rondo {

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

}  // namespace rondo
