#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "sharding/base/progress.h"
#include "trainer/data/dataset_record.h"
#include "trainer/data/key_dictionary.h"
#include "trainer/data/schema.h"

namespace rondo {

struct IngestOptions {
  std::filesystem::path out;                                         ///< dataset folder to make
  bool overwrite = false;                                            ///< replace a dataset that is there
  std::string schema_text;                                           ///< the schema as text, kept in dataset.textproto
  SplitOptions split;                                                ///< kept in dataset.textproto
  int64_t memory_events = 1 << 21;                                   ///< events sorted at once
  uint64_t (*hash)(std::string_view text, uint64_t salt) = nullptr;  ///< of text keys; null: hash_bytes
};

/// Reads logs and a catalogue and writes a dataset folder: catalog.h5, events-00000.h5, dataset.textproto,
/// rejected.tsv.
///
/// Everything is written into a temporary folder beside `out` and renamed at the end. Memory grows with users and
/// items, not with events. Throws ConfigError (schema), DataError (source), StorageError (output).
DatasetRecord ingest(const SchemaOptions& schema, const IngestOptions& options, Progress& progress);

}  // namespace rondo
