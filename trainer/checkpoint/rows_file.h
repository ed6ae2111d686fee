#pragma once

#include <cstdint>
#include <filesystem>

#include "sharding/embedding/sharded_embedding.h"
#include "trainer/checkpoint/manifest.h"
#include "trainer/storage/file_system.h"

namespace rondo {

/// `rows-00003.h5`: the rows that rank 3 wrote, or some of their columns. A group a table: `keys` uint64 [rows],
/// `values` [rows, columns], `state` [rows, state_width of so many columns] (absent without state), `counts` float32
/// [rows], `versions` int64 [rows], `bucket_offsets` int64 [buckets + 1] (rows of bucket b of the range: from offset b
/// to offset b + 1, by key), `range` int64 [4] (first and last bucket, first and last column). Attributes: format,
/// step, rank, world.

/// What of table number `table` a rank writes: what it holds; a replicated table is written whole by one rank, a hot
/// row by the rank that holds its bucket. `spec` has its owner.
Shard shard_to_write(const TableSpec& spec, int64_t table, int rank, int world);

/// Bytes that a row of `columns` columns takes in a file.
int64_t stored_row_bytes(const TableSpec& spec, int64_t columns);

struct RowsFileHeader {
  int64_t step = 0;
  int rank = 0;
  int world = 1;
};

/// Writes what this rank has to write of all tables, and syncs. Memory beside the stores is bounded. Throws
/// StorageError.
void write_rows_file(const std::filesystem::path& path, const ShardedEmbedding& embedding, const RowsFileHeader& header,
                     FileSystem& files);

/// Gives `embedding` the rows and columns that this rank holds, from however many files of `checkpoint`, written under
/// any placement.
/// Reads nothing else; memory beside the stores is bounded. REQUIRES: stores without rows; digests were verified; the
/// manifest's tables fit the job's. Throws StorageError for files that contradict the manifest.
void read_rows(const std::filesystem::path& checkpoint, const Manifest& manifest, ShardedEmbedding& embedding);

}  // namespace rondo
