#pragma once

#include "sharding/base/progress.h"
#include "trainer/data/dataset_record.h"
#include "trainer/data/ingest.h"
#include "trainer/data/schema.h"

namespace rondo {

/// `ingest` of texts with classes: examples-00000.h5, dataset.textproto, rejected.tsv. Memory grows with the texts.
/// Throws ConfigError for options.append: such a dataset has one window; DataError when no training example is left or
/// all have one class.
DatasetRecord ingest_examples(const SchemaOptions& schema, const IngestOptions& options, Progress& progress);

}  // namespace rondo
