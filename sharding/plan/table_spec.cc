#include "sharding/plan/table_spec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <iomanip>
#include <sstream>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

constexpr int64_t kLargestDim = 65536;
constexpr int64_t kMostBuckets = int64_t{1} << 22;
constexpr int64_t kMostDenseRows = int64_t{1} << 40;

template <typename Value>
void require(bool holds, const std::string& owner, const char* field, const char* range, Value value) {
  if (!holds) throw ConfigError(concat(owner, field, " must be ", range, ", got ", value));
}

void validate_hot_keys(const TableSpec& spec, const std::string& owner) {
  if (spec.hot_keys.empty()) return;
  require(spec.placement == Placement::kRowWise, owner, "placement", "row_wise for a table with hot_keys",
          to_word(spec.placement));
  require(spec.optimizer.kind != RowOptimizerKind::kNone, owner, "optimizer", "one that learns for hot_keys", "none");
  const auto repeated = std::ranges::adjacent_find(spec.hot_keys, std::greater_equal<>());
  require(repeated == spec.hot_keys.end(), owner, "hot_keys", "distinct and ascending",
          repeated == spec.hot_keys.end() ? 0 : *repeated);
  require(spec.key_space == KeySpace::kHashed || spec.hot_keys.back() < static_cast<uint64_t>(spec.rows), owner,
          "hot_keys", concat("in [0, rows = ", spec.rows, ")").c_str(), spec.hot_keys.back());
}

void validate_optimizer(const RowOptimizerOptions& options, const std::string& owner) {
  const auto finite_and_positive = [](double value) { return std::isfinite(value) && value >= 0.0; };
  const auto fraction = [](double value) { return value >= 0.0 && value < 1.0; };
  require(finite_and_positive(options.learning_rate), owner, "learning_rate", "finite and >= 0", options.learning_rate);
  require(std::isfinite(options.epsilon) && options.epsilon > 0.0, owner, "epsilon", "finite and > 0", options.epsilon);
  require(fraction(options.beta1), owner, "beta1", "in [0, 1)", options.beta1);
  require(fraction(options.beta2), owner, "beta2", "in [0, 1)", options.beta2);
  require(finite_and_positive(options.weight_decay), owner, "weight_decay", "finite and >= 0", options.weight_decay);
  require(finite_and_positive(options.clip_norm), owner, "clip_norm", "finite and >= 0", options.clip_norm);
}

}  // namespace

void validate(const RowOptimizerOptions& options) { validate_optimizer(options, "row optimizer: "); }

const char* to_word(Placement placement) {
  switch (placement) {
    case Placement::kReplicated:
      return "replicated";
    case Placement::kRowWise:
      return "row_wise";
    case Placement::kTableWise:
      return "table_wise";
    case Placement::kColumnWise:
      return "column_wise";
  }
  throw InternalError(concat("placement ", static_cast<int>(placement), " is not known"));
}

StateShape state_shape(RowOptimizerKind kind) {
  switch (kind) {
    case RowOptimizerKind::kNone:
    case RowOptimizerKind::kSgd:
      return {};
    case RowOptimizerKind::kRowWiseAdagrad:
      return {.per_row = 1};
    case RowOptimizerKind::kAdam:
      return {.per_column = 2};
    case RowOptimizerKind::kAdagrad:
      return {.per_column = 1};
    case RowOptimizerKind::kRowWiseAdam:
      return {.per_column = 1, .per_row = 1};
  }
  throw InternalError(concat("row optimizer ", static_cast<int>(kind), " is not known"));
}

int64_t state_width(RowOptimizerKind kind, int64_t dim) {
  const StateShape shape = state_shape(kind);
  return shape.per_column * dim + shape.per_row;
}

bool takes_mean_squares(const RowOptimizerOptions& options) {
  return options.clip_norm > 0.0 || state_shape(options.kind).per_row > 0;
}

int64_t bytes_of(RowType type) {
  switch (type) {
    case RowType::kFloat64:
      return 8;
    case RowType::kFloat32:
      return 4;
    case RowType::kFloat16:
    case RowType::kBFloat16:
      return 2;
  }
  throw InternalError(concat("row type ", static_cast<int>(type), " is not known"));
}

void validate(const TableSpec& spec) {
  if (spec.name.empty()) throw ConfigError("table: name must not be empty");
  const std::string owner = concat("table \"", spec.name, "\": ");
  require(spec.dim >= 1 && spec.dim <= kLargestDim, owner, "dim", "in [1, 65536]", spec.dim);
  const int64_t fewest_rows = spec.key_space == KeySpace::kDense ? 1 : 0;
  require(spec.rows >= fewest_rows && spec.rows <= kMostDenseRows, owner, "rows",
          fewest_rows == 1 ? "in [1, 2^40] for dense keys" : "in [0, 2^40]", spec.rows);
  require(spec.buckets >= 1 && spec.buckets <= kMostBuckets && std::has_single_bit(static_cast<uint64_t>(spec.buckets)),
          owner, "buckets", "a power of two in [1, 2^22]", spec.buckets);
  require(std::isfinite(spec.initial_scale) && spec.initial_scale >= 0.0, owner, "initial_scale", "finite and >= 0",
          spec.initial_scale);
  require(spec.count_decay >= 0.0 && spec.count_decay <= 1.0, owner, "count_decay", "in [0, 1]", spec.count_decay);
  require(spec.owner >= kAnyRank, owner, "owner", "a rank, or -1 for any", spec.owner);
  require(spec.column_shards >= 0 && spec.column_shards <= spec.dim, owner, "column_shards",
          concat("in [0, dim = ", spec.dim, "]").c_str(), spec.column_shards);
  const bool codec = spec.row_codec != WireCodec::kNone || spec.gradient_codec != WireCodec::kNone;
  if (codec && spec.row_type == RowType::kFloat64) {
    throw ConfigError(owner + "row_codec and gradient_codec must be none for fp64 rows");
  }
  require(spec.way_home == WayHome::kRows || spec.placement != Placement::kReplicated, owner, "way_home",
          "rows when every rank holds every row", "sums");
  validate_hot_keys(spec, owner);
  validate_optimizer(spec.optimizer, owner + "optimizer.");
}

std::string describe(const TableSpec& spec) {
  const RowOptimizerOptions& optimizer = spec.optimizer;
  uint64_t hot = 0;
  for (const uint64_t key : spec.hot_keys) hot = mix64(hot ^ key);
  std::ostringstream text;
  text << std::setprecision(17) << "table \"" << spec.name << "\": dim " << spec.dim << ", "
       << (spec.key_space == KeySpace::kDense ? "dense" : "hashed") << " keys, rows " << spec.rows << ", buckets "
       << spec.buckets << ", " << to_word(spec.placement) << ", owner " << spec.owner << ", column_shards "
       << spec.column_shards << ", " << (spec.way_home == WayHome::kSums ? "sums home" : "rows home") << ", "
       << spec.hot_keys.size() << " hot keys (" << hot << "), row type " << static_cast<int>(spec.row_type)
       << ", codecs " << static_cast<int>(spec.row_codec) << " " << static_cast<int>(spec.gradient_codec)
       << ", optimizer " << static_cast<int>(optimizer.kind) << " (learning_rate " << optimizer.learning_rate
       << ", epsilon " << optimizer.epsilon << ", betas " << optimizer.beta1 << " " << optimizer.beta2
       << ", weight_decay " << optimizer.weight_decay << ", clip_norm " << optimizer.clip_norm << ", check_finite "
       << optimizer.check_finite << "), initial_scale " << spec.initial_scale << ", count_decay " << spec.count_decay;
  return std::move(text).str();
}

int64_t bucket_of(uint64_t key, int64_t buckets) {
  return static_cast<int64_t>(mix64(key) & static_cast<uint64_t>(buckets - 1));
}

BucketRange buckets_of_rank(int64_t buckets, int rank, int world) {
  return {buckets * rank / world, buckets * (rank + 1) / world};
}

int owner_of_bucket(int64_t bucket, int64_t buckets, int world) {
  // The largest r with buckets * r / world <= bucket; buckets is a power of two.
  const int log2_buckets = std::countr_zero(static_cast<uint64_t>(buckets));
  return static_cast<int>(((bucket + 1) * world - 1) >> log2_buckets);
}

}  // namespace rondo
