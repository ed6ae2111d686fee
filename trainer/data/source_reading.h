#pragma once

#include "sharding/base/progress.h"
#include "trainer/data/ingest_sink.h"
#include "trainer/data/schema.h"

namespace rondo {

/// Reads all sources of a schema into the sink: catalogue first, then events; of kSequences, lines, then attributes.
/// Throws DataError naming file and line for a source that cannot be read, or when too many rows are rejected.
void read_sources(const SchemaOptions& schema, IngestSink& sink, Progress& progress);

}  // namespace rondo
