#include "sharding/plan/table_spec.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "sharding/base/error.h"

namespace rondo {
namespace {

TEST(Buckets, EveryBucketHasTheOwnerWhoseRangeHoldsIt) {
  for (const int64_t buckets : {1, 2, 8, 64, 65536}) {
    for (const int world : {1, 2, 3, 4, 7, 100}) {
      int64_t expected = 0;
      for (int rank = 0; rank < world; ++rank) {
        const BucketRange range = buckets_of_rank(buckets, rank, world);
        EXPECT_EQ(range.first, expected);
        EXPECT_LE(range.last - range.first, (buckets + world - 1) / world);
        for (int64_t bucket = range.first; bucket < range.last; ++bucket) {
          ASSERT_EQ(owner_of_bucket(bucket, buckets, world), rank)
              << bucket << " of " << buckets << ", world " << world;
        }
        expected = range.last;
      }
      EXPECT_EQ(expected, buckets);
    }
  }
}

TEST(StateWidth, ByOptimizer) {
  EXPECT_EQ(state_width(RowOptimizerKind::kNone, 8), 0);
  EXPECT_EQ(state_width(RowOptimizerKind::kSgd, 8), 0);
  EXPECT_EQ(state_width(RowOptimizerKind::kRowWiseAdagrad, 8), 1);
  EXPECT_EQ(state_width(RowOptimizerKind::kAdam, 8), 16);
  EXPECT_EQ(state_width(RowOptimizerKind::kAdagrad, 8), 8);
  EXPECT_EQ(state_width(RowOptimizerKind::kRowWiseAdam, 8), 9);
}

TEST(TableSpecValidation, TakesTheDefaults) {
  EXPECT_NO_THROW(validate(TableSpec{.name = "item"}));
  EXPECT_NO_THROW(validate(RowOptimizerOptions{}));
}

TEST(TableSpecValidation, NamesTableFieldValueAndRange) {
  struct Case {
    std::function<void(TableSpec&)> spoil;
    const char* message;
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<Case> cases{
      {[](TableSpec& s) { s.name = ""; }, "name must not be empty"},
      {[](TableSpec& s) { s.dim = 0; }, "table \"item\": dim must be in [1, 65536], got 0"},
      {[](TableSpec& s) { s.rows = -1; }, "table \"item\": rows must be in [0, 2^40], got -1"},
      {[](TableSpec& s) { s.key_space = KeySpace::kDense; }, "rows must be in [1, 2^40] for dense keys, got 0"},
      {[](TableSpec& s) { s.buckets = 48; }, "buckets must be a power of two in [1, 2^22], got 48"},
      {[](TableSpec& s) { s.initial_scale = -0.5; }, "initial_scale must be finite and >= 0, got -0.5"},
      {[](TableSpec& s) { s.count_decay = 1.5; }, "count_decay must be in [0, 1], got 1.5"},
      {[](TableSpec& s) {
         s.row_type = RowType::kFloat64;
         s.gradient_codec = WireCodec::kBFloat16;
       },
       "table \"item\": row_codec and gradient_codec must be none for fp64 rows"},
      {[=](TableSpec& s) { s.optimizer.learning_rate = nan; },
       "optimizer.learning_rate must be finite and >= 0, got nan"},
      {[](TableSpec& s) { s.optimizer.epsilon = 0; }, "optimizer.epsilon must be finite and > 0, got 0"},
      {[](TableSpec& s) { s.optimizer.beta1 = 1; }, "optimizer.beta1 must be in [0, 1), got 1"},
      {[](TableSpec& s) { s.optimizer.beta2 = -1; }, "optimizer.beta2 must be in [0, 1), got -1"},
      {[](TableSpec& s) { s.optimizer.weight_decay = -1; }, "optimizer.weight_decay must be finite and >= 0, got -1"},
      {[=](TableSpec& s) { s.optimizer.clip_norm = nan; }, "optimizer.clip_norm must be finite and >= 0, got nan"},
  };
  for (const Case& c : cases) {
    TableSpec spec{.name = "item"};
    c.spoil(spec);
    try {
      validate(spec);
      ADD_FAILURE() << "taken: " << c.message;
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
      EXPECT_NE(std::string(error.what()).find(c.message), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace rondo
