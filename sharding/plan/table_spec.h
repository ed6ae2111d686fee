#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo {

/// Which keys a table takes (DESIGN 1).
enum class KeySpace : uint8_t {
  kDense,   ///< keys 0 .. rows-1; bucket and slot by arithmetic
  kHashed,  ///< any 64-bit key; an open-addressing index per shard
};

/// How a table is spread over ranks.
enum class Placement : uint8_t {
  kReplicated,  ///< every rank holds every row: small tables
  kRowWise,     ///< rows are spread by bucket
  kTableWise,   ///< one rank holds the table
  kColumnWise,  ///< ranks hold equal ranges of columns of every row
};

/// How the bags of a table's pooled features come to who asks. Sequence features always get rows.
enum class WayHome : uint8_t {
  kRows,  ///< each distinct row travels once, the asker pools
  kSums,  ///< who holds the rows sums what it has of each bag; the sums travel and are added in rank order
};

/// "row_wise", ...: as jobs, messages and plans write it.
const char* to_word(Placement placement);

/// Type of a row's values in memory. They are computed with in fp32 (fp64 rows, which serve tests, in fp64); a row of
/// 16 bits starts rounded to nearest and is rounded stochastically by every step. Optimizer state stays fp32.
enum class RowType : uint8_t { kFloat32, kFloat64, kFloat16, kBFloat16 };

int64_t bytes_of(RowType type);

/// What numbers are rounded to (to nearest) for their way between ranks; what stays on a rank is not.
enum class WireCodec : uint8_t { kNone, kFloat16, kBFloat16 };

/// kNone: rows are assigned, never learned (the text-vector table); they take no gradient.
enum class RowOptimizerKind : uint8_t { kNone, kSgd, kRowWiseAdagrad, kAdam, kAdagrad, kRowWiseAdam };

/// How rows learn. Formulas: embedding/row_math.h; both Adagrads as in FBGEMM (epsilon outside the root).
struct RowOptimizerOptions {
  RowOptimizerKind kind = RowOptimizerKind::kRowWiseAdagrad;
  double learning_rate = 0.05;  ///< times the schedule's factor of the step
  double epsilon = 1e-8;
  double beta1 = 0.9;         ///< both Adams
  double beta2 = 0.999;       ///< both Adams
  double weight_decay = 0.0;  ///< decoupled; touched rows only
  double clip_norm = 0.0;     ///< the summed gradient of a row is scaled down to this norm; 0: never
  bool check_finite = true;   ///< refuse a gradient that is not finite, before its row learns
};

/// Throws ConfigError naming the field, its value and the allowed range.
void validate(const RowOptimizerOptions& options);

/// Scalars of optimizer state of one row: `per_column` blocks of dim scalars (Adagrad: 1; Adam: 2, m then v; row-wise
/// Adam: 1, m), then `per_row` scalars
/// that belong to the row as a whole (row-wise Adagrad and Adam: 1) and are the same in every range of its columns.
struct StateShape {
  int64_t per_column = 0;
  int64_t per_row = 0;
};
StateShape state_shape(RowOptimizerKind kind);

/// per_column * dim + per_row.
int64_t state_width(RowOptimizerKind kind, int64_t dim);

/// Does a step ask for the mean square of a whole row's gradient: for state per row, or to clip by row?
bool takes_mean_squares(const RowOptimizerOptions& options);

inline constexpr int kAnyRank = -1;

/// One embedding table.
struct TableSpec {
  std::string name;
  int64_t dim = 64;
  KeySpace key_space = KeySpace::kHashed;
  int64_t rows = 0;         ///< dense: number of rows; hashed: expected number over all ranks, a hint for memory
  int64_t buckets = 65536;  ///< power of two; never changes in the life of a table
  Placement placement = Placement::kRowWise;

  /// Table-wise: the rank that holds the table. Column-wise: the rank of the first columns; the next ranks follow, in a
  /// circle. kAnyRank: the plan chooses (assign_owners).
  int owner = kAnyRank;

  /// Column-wise: over how many ranks; divides dim. 0: over all.
  int column_shards = 0;

  WayHome way_home = WayHome::kRows;

  /// Row-wise: keys whose rows every rank holds besides, because a large share of all ids asks for them. In ascending
  /// order.
  std::vector<uint64_t> hot_keys = {};

  RowType row_type = RowType::kFloat32;
  WireCodec row_codec = WireCodec::kNone;       ///< of rows on their way to who asks; none: as they are in memory
  WireCodec gradient_codec = WireCodec::kNone;  ///< of their gradients on the way back; none: fp32 (fp64)
  RowOptimizerOptions optimizer = {};

  /// A new row starts uniform in [-initial_scale, initial_scale), a function of (seed, table name, key, column).
  double initial_scale = 0.05;

  /// Per step: count <- (1 - count_decay) * count + count_decay * occurrences; p = count / global batch.
  double count_decay = 0.01;
};

/// Throws ConfigError naming the table, the field, its value and the allowed range.
void validate(const TableSpec& spec);

/// Every field, on one line; equal for equal specs.
std::string describe(const TableSpec& spec);

/// Bucket of a key of a hashed table: mix64(key) mod buckets. Dense tables have a bijection of their own (DenseLayout).
int64_t bucket_of(uint64_t key, int64_t buckets);

/// Buckets [first, last).
struct BucketRange {
  int64_t first = 0;
  int64_t last = 0;
};

/// Rank r owns [buckets * r / world, buckets * (r + 1) / world): contiguous, sizes differ by one at most.
BucketRange buckets_of_rank(int64_t buckets, int rank, int world);
int owner_of_bucket(int64_t bucket, int64_t buckets, int world);

}  // namespace rondo
