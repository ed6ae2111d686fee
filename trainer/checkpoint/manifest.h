#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sharding/plan/shard.h"
#include "sharding/plan/table_spec.h"
#include "trainer/data/examples.h"

namespace rondo {

/// Format of the folders that this program writes; it reads no newer one.
inline constexpr int kCheckpointFormat = 1;

inline constexpr char kManifestName[] = "MANIFEST";
inline constexpr char kDenseFileName[] = "dense.h5";

/// "rows-00003.h5".
std::string rows_file_name(int rank);

/// A file of a checkpoint folder.
struct ManifestFile {
  std::string name;
  int64_t bytes = 0;
  std::string sha256;
};

/// Where some columns of the rows of some buckets of a table are.
struct ManifestPart {
  std::string file;
  BucketRange buckets;
  ColumnRange columns;
  int64_t rows = 0;
};

/// What of a table a checkpoint fixes; words instead of enumerators, as people read them.
struct ManifestTable {
  std::string name;
  int64_t dim = 0;
  std::string key_space;   // "dense", "hashed"
  int64_t dense_rows = 0;  // of a dense table, else 0
  int64_t buckets = 0;
  std::string row_type;   // "float32", "float64", "float16", "bfloat16"
  std::string optimizer;  // "none", "sgd", "adagrad", "row_wise_adagrad", "adam", "row_wise_adam"
  int64_t state_width = 0;
  std::string placement = {};            // "replicated", "row_wise"; of the job that wrote: for people
  std::vector<ManifestPart> parts = {};  // by bucket, then column; together all of the table
};

/// Without parts.
ManifestTable manifest_table(const TableSpec& spec);

struct ManifestTensor {
  std::string name;
  std::string dtype;  // "float32", ... (dense_file.h)
  std::vector<int64_t> shape;
};

/// What a checkpoint folder holds (proto/manifest.proto).
struct Manifest {
  int format_version = kCheckpointFormat;
  int64_t step = 0;
  int world = 1;
  uint64_t seed = 0;
  std::string job_digest = {};
  std::string parent = {};
  DataCursor cursor = {};
  std::vector<ManifestFile> files = {};
  std::vector<ManifestTable> tables = {};
  std::vector<ManifestTensor> tensors = {};

  const ManifestFile* file(std::string_view name) const;  // null: none
  int64_t bytes() const;                                  // of all files
};

/// The bytes of MANIFEST. Throws InternalError for a manifest that parse_manifest would refuse.
std::string to_text(const Manifest& manifest);

/// The inverse, for bytes that anybody may have changed. `path` stands in messages. Throws StorageError when the digest
/// does not fit, a field is unknown, or parts, names and sizes contradict each other; ConfigError (code 78) for a
/// format that is newer than this program.
Manifest parse_manifest(const std::string& text, const std::filesystem::path& path);

/// Names that may be joined to a folder: letters, digits, '.', '_' and '-', at most 64, the first a letter or digit.
bool is_plain_name(std::string_view name);

}  // namespace rondo
