#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "sharding/base/progress.h"
#include "trainer/data/dataset_record.h"
#include "trainer/data/schema.h"
#include "trainer/data/split.h"

namespace rondo {

/// Where a dataset goes, and how it is made.
struct IngestOptions {
  std::filesystem::path out;                                         ///< dataset folder
  bool overwrite = false;                                            ///< replace a dataset that is there
  bool append = false;                                               ///< add a window to the dataset that is there
  SplitOptions split;                                                ///< kept in the record; of the first window
  int64_t memory_events = 1 << 21;                                   ///< events sorted at once, 40 bytes each
  uint64_t (*hash)(std::string_view text, uint64_t salt) = nullptr;  ///< of text keys; null: hash_bytes
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const IngestOptions& options);

/// Reads logs and a catalogue and writes a dataset folder: catalog.h5, events-00000.h5, dataset.textproto,
/// rejected.tsv.
///
/// Written beside `out`, then renamed: a failure leaves what was there, and rejected rows in "<out>.rejected.tsv". With
/// `append` the folder is made anew with the old events files (hard links), one more, and a catalogue that has the new
/// items behind the old; what is derived from the catalogue (tokens-*.h5) is left out. A source that is in the dataset
/// already, by its digest, is refused. Memory grows with users and items, not with events.
///
/// A schema of texts with classes makes another kind of dataset: see ingest_examples.
///
/// Throws ConfigError (options, schema, or a schema that does not fit the dataset), DataError (a source), StorageError
/// (kCannotCreate for an output that is there or cannot be made; kIoOrDeadline for one that cannot be written). Returns
/// the record as it is now; the last of its windows is what was added.
DatasetRecord ingest(const SchemaOptions& schema, const IngestOptions& options, Progress& progress);

}  // namespace rondo
