#include "sharding/embedding/row_store.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "sharding/base/check.h"
#include "sharding/base/half.h"
#include "sharding/base/hash.h"
#include "sharding/base/parallel.h"
#include "sharding/base/random.h"
#include "sharding/plan/key_placement.h"
#include "tests/support/reference_embedding.h"

namespace rondo {
namespace {

constexpr uint64_t kSeed = 23;
constexpr CounterRandom kRandom(9, 0, RandomPurpose::kTest);

TableSpec hashed_spec(RowOptimizerKind kind = RowOptimizerKind::kAdam) {
  return {.name = "item", .dim = 6, .buckets = 32, .optimizer = {.kind = kind}, .count_decay = 0.25};
}

TableSpec dense_spec(int64_t rows) {
  return {.name = "brand", .dim = 3, .key_space = KeySpace::kDense, .rows = rows, .buckets = 16, .count_decay = 0.25};
}

std::vector<uint64_t> some_keys(int64_t n) {
  std::vector<uint64_t> keys(static_cast<size_t>(n));
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = mix64(i);  // holds key 0
  return keys;
}

std::vector<int64_t> slots_of(RowStore& store, std::span<const uint64_t> keys) {
  std::vector<int64_t> slots(keys.size());
  store.find_or_create(keys, slots);
  return slots;
}

std::vector<float> values_of(const RowStore& store, std::span<const uint64_t> keys) {
  std::vector<int64_t> slots(keys.size());
  store.find(keys, slots);
  at::Tensor values = at::empty({static_cast<int64_t>(keys.size()), store.spec().dim});
  store.gather(slots, values);
  return {values.const_data_ptr<float>(), values.const_data_ptr<float>() + values.numel()};
}

void train_step(RowStore& store, std::span<const uint64_t> keys, int64_t step) {
  const auto slots = slots_of(store, keys);
  at::Tensor gradients = at::empty({static_cast<int64_t>(keys.size()), store.spec().dim});
  for (int64_t i = 0; i < gradients.numel(); ++i) {
    gradients.mutable_data_ptr<float>()[i] =
        static_cast<float>(kRandom.normal(static_cast<uint64_t>(step), static_cast<uint64_t>(i)));
  }
  std::vector<int64_t> occurrences(keys.size());
  for (size_t i = 0; i < keys.size(); ++i) occurrences[i] = static_cast<int64_t>(i % 3);
  store.update({.slots = slots, .gradients = gradients, .occurrences = occurrences, .step = step, .keys = keys});
}

TEST(RowStore, KeysKeepTheirSlotsWhileTheIndexGrows) {
  RowStore store(hashed_spec(), {0, 32}, kSeed);
  const auto keys = some_keys(20'000);
  std::vector<int64_t> first;
  for (size_t begin = 0; begin < keys.size(); begin += 700) {
    const auto part = std::span(keys).subspan(begin, std::min<size_t>(700, keys.size() - begin));
    const auto slots = slots_of(store, part);
    first.insert(first.end(), slots.begin(), slots.end());
  }
  EXPECT_EQ(store.rows(), 20'000);
  EXPECT_EQ(std::set<int64_t>(first.begin(), first.end()).size(), keys.size());
  EXPECT_EQ(slots_of(store, keys), first);
  std::vector<int64_t> none(2);
  store.find(std::vector<uint64_t>{mix64(20'000), mix64(20'001)}, none);
  EXPECT_EQ(none, (std::vector<int64_t>{-1, -1}));
  EXPECT_EQ(store.rows(), 20'000);
}

TEST(RowStore, OneKeyTwiceInACallGetsOneRow) {
  for (const TableSpec& spec : {hashed_spec(), dense_spec(9)}) {
    RowStore store(spec, {0, spec.buckets}, kSeed);
    const auto slots = slots_of(store, std::vector<uint64_t>{5, 7, 5});
    EXPECT_EQ(slots[0], slots[2]);
    EXPECT_NE(slots[0], slots[1]);
    EXPECT_EQ(store.rows(), 2);
    EXPECT_TRUE(slots_of(store, {}).empty());
  }
}

TEST(RowStore, InitialRowsDependOnSeedNameAndKeyAlone) {
  const auto keys = some_keys(100);
  const TableSpec spec = hashed_spec();
  RowStore whole(spec, {0, 32}, kSeed), other_seed(spec, {0, 32}, kSeed + 1);
  slots_of(whole, keys);
  slots_of(other_seed, keys);
  std::vector<uint64_t> mine;
  for (const uint64_t key : keys) {
    if (bucket_of(key, 32) >= 20) mine.insert(mine.begin(), key);
  }
  RowStore part(spec, {20, 32}, kSeed);
  slots_of(part, mine);
  EXPECT_EQ(values_of(part, mine), values_of(whole, mine));
  EXPECT_NE(values_of(other_seed, mine), values_of(whole, mine));
  for (const float value : values_of(whole, keys)) EXPECT_LT(std::abs(value), 0.05F);
}

TEST(RowStore, CountsDecayWhileARowRests) {
  RowStore store(hashed_spec(RowOptimizerKind::kSgd), {0, 32}, kSeed);
  const std::vector<uint64_t> key{42};
  const auto slots = slots_of(store, key);
  std::vector<float> count(1);
  std::vector<uint8_t> trained(1, 9);
  store.statistics(slots, 1, count, trained);
  EXPECT_EQ(count[0], 0.0F);
  EXPECT_EQ(trained[0], 0);
  const std::vector<int64_t> eight{8};
  store.update({.slots = slots, .gradients = at::empty({1, 6}).zero_(), .occurrences = eight, .step = 3});
  const std::vector<std::pair<int64_t, float>> expected{{3, 2.0F}, {4, 2.0F}, {5, 1.5F}, {6, 1.125F}};
  for (const auto& [step, value] : expected) {
    store.statistics(slots, step, count, trained);
    EXPECT_FLOAT_EQ(count[0], value) << "before step " << step;
    EXPECT_EQ(trained[0], 1);
  }
  store.update({.slots = slots, .gradients = at::empty({1, 6}).zero_(), .occurrences = eight, .step = 5});
  store.statistics(slots, 6, count, trained);
  EXPECT_FLOAT_EQ(count[0], 2.0F * 0.75F * 0.75F + 2.0F);
}

void continue_from_exported_buckets(RowType type) {
  for (const auto kind : {RowOptimizerKind::kSgd, RowOptimizerKind::kRowWiseAdagrad, RowOptimizerKind::kAdam,
                          RowOptimizerKind::kAdagrad, RowOptimizerKind::kRowWiseAdam}) {
    TableSpec spec = hashed_spec(kind);
    spec.dim = 7;  // 16-bit values end between the places of fp32
    spec.row_type = type;
    const auto keys = some_keys(500);
    RowStore straight(spec, {0, 32}, kSeed);
    train_step(straight, keys, 1);
    train_step(straight, std::span(keys).subspan(100, 77), 4);

    // No value of a saved row comes from the seed, but the rounding of the next step does.
    const uint64_t other_seed = bytes_of(type) == 2 ? kSeed : kSeed + 1;
    std::vector<RowStore> parts;
    for (int rank = 0; rank < 3; ++rank) parts.emplace_back(spec, buckets_of_rank(32, rank, 3), other_seed);
    int64_t rows = 0;
    for (int64_t bucket = 0; bucket < 32; ++bucket) {
      const BucketRows exported = straight.export_bucket(bucket);
      EXPECT_TRUE(std::is_sorted(exported.keys.begin(), exported.keys.end()));
      for (const uint64_t key : exported.keys) EXPECT_EQ(bucket_of(key, 32), bucket);
      rows += static_cast<int64_t>(exported.keys.size());
      parts[static_cast<size_t>(owner_of_bucket(bucket, 32, 3))].import_bucket(bucket, exported);
    }
    EXPECT_EQ(rows, 500);
    train_step(straight, keys, 6);
    // A gradient depends on the place in the list: let the parts take their rows of the same step from there.
    const auto all = slots_of(straight, keys);
    at::Tensor gradients = at::empty({500, spec.dim});
    for (int64_t i = 0; i < gradients.numel(); ++i) {
      gradients.mutable_data_ptr<float>()[i] = static_cast<float>(kRandom.normal(6, static_cast<uint64_t>(i)));
    }
    for (size_t i = 0; i < keys.size(); ++i) {
      RowStore& part = parts[static_cast<size_t>(owner_of_bucket(bucket_of(keys[i], 32), 32, 3))];
      const auto slot = slots_of(part, {&keys[i], 1});
      const std::vector<int64_t> occurrences{static_cast<int64_t>(i % 3)};
      part.update({.slots = slot,
                   .gradients = gradients.narrow(0, static_cast<int64_t>(i), 1),
                   .occurrences = occurrences,
                   .step = 6,
                   .keys = {&keys[i], 1}});
    }
    for (int64_t bucket = 0; bucket < 32; ++bucket) {
      const BucketRows a = straight.export_bucket(bucket);
      const BucketRows b = parts[static_cast<size_t>(owner_of_bucket(bucket, 32, 3))].export_bucket(bucket);
      EXPECT_EQ(a.keys, b.keys);
      EXPECT_TRUE(a.values.equal(b.values) && a.state.equal(b.state));
      EXPECT_EQ(a.counts, b.counts);
      EXPECT_EQ(a.versions, b.versions);
    }
  }
}

TEST(RowStore, ContinuesBitForBitFromExportedBuckets) {
  for (const RowType type : {RowType::kFloat32, RowType::kFloat16, RowType::kBFloat16}) {
    SCOPED_TRACE(static_cast<int>(type));
    continue_from_exported_buckets(type);
  }
}

TEST(RowStore, RangesOfBucketsAreTheirBucketsOneAfterTheOther) {
  for (const TableSpec& spec : {hashed_spec(), dense_spec(401)}) {
    RowStore store(spec, {0, spec.buckets}, kSeed);
    std::vector<uint64_t> keys(400);
    std::iota(keys.begin(), keys.end(), 0);
    train_step(store, std::span(keys).first(300), 2);
    slots_of(store, keys);
    RowStore copy(spec, {0, spec.buckets}, kSeed + 1);
    for (const BucketRange range :
         {BucketRange{0, 3}, {3, 3}, {3, spec.buckets - 1}, {spec.buckets - 1, spec.buckets}}) {
      const BucketRangeRows part = store.export_buckets(range);
      ASSERT_EQ(static_cast<int64_t>(part.offsets.size()), range.last - range.first + 1);
      copy.import_buckets(part);
      for (int64_t bucket = range.first; bucket < range.last; ++bucket) {
        const BucketRows one = store.export_bucket(bucket), copied = copy.export_bucket(bucket);
        const int64_t first = part.offsets[bucket - range.first], last = part.offsets[bucket - range.first + 1];
        EXPECT_EQ(one.keys, std::vector<uint64_t>(part.rows.keys.begin() + first, part.rows.keys.begin() + last));
        EXPECT_TRUE(one.values.equal(part.rows.values.narrow(0, first, last - first)));
        EXPECT_TRUE(one.keys == copied.keys && one.counts == copied.counts && one.versions == copied.versions);
        EXPECT_TRUE(one.values.equal(copied.values) && one.state.equal(copied.state));
      }
    }
    EXPECT_EQ(copy.rows(), 400);
    EXPECT_THROW(copy.import_buckets(store.export_buckets({0, 1})), InternalError);
  }
}

TEST(RowStore, DenseBucketsHoldTheRowsThatWereMade) {
  for (const int64_t rows : {1, 5, 16, 1000}) {
    const TableSpec spec = dense_spec(rows);
    std::vector<uint64_t> keys;
    for (int64_t key = 0; key < rows; key += 2) keys.push_back(static_cast<uint64_t>(key));
    const KeyPlacement placement(spec, 3);
    std::vector<uint64_t> exported;
    for (int rank = 0; rank < 3; ++rank) {
      RowStore store(spec, buckets_of_rank(spec.buckets, rank, 3), kSeed);
      std::vector<uint64_t> mine;
      for (const uint64_t key : keys) {
        if (placement.owner(key) == rank) mine.push_back(key);
      }
      slots_of(store, mine);
      EXPECT_EQ(store.rows(), static_cast<int64_t>(mine.size()));
      for (int64_t bucket = store.range().first; bucket < store.range().last; ++bucket) {
        const BucketRows part = store.export_bucket(bucket);
        EXPECT_TRUE(std::is_sorted(part.keys.begin(), part.keys.end()));
        exported.insert(exported.end(), part.keys.begin(), part.keys.end());
      }
    }
    std::sort(exported.begin(), exported.end());
    EXPECT_EQ(exported, keys);
  }
}

TEST(RowStore, NumberOfThreadsChangesNoBit) {
  const auto keys = some_keys(5000);
  for (const RowType type : {RowType::kFloat32, RowType::kFloat16, RowType::kBFloat16}) {
    TableSpec spec = hashed_spec();
    spec.row_type = type;
    std::vector<std::vector<float>> results;
    for (const int count : {1, 3}) {
      set_threads(count);
      RowStore store(spec, {0, 32}, kSeed);
      train_step(store, keys, 1);
      train_step(store, std::span(keys).subspan(1000, 3001), 2);
      results.push_back(values_of(store, keys));
    }
    set_threads(1);
    EXPECT_EQ(results[0], results[1]);
  }
}

TEST(RowStore, MemoryIsNearThatOfTheRows) {
  for (const RowType type : {RowType::kFloat32, RowType::kBFloat16}) {
    TableSpec spec = hashed_spec(RowOptimizerKind::kRowWiseAdagrad);
    spec.dim = 64;
    spec.row_type = type;
    RowStore store(spec, {0, 32}, kSeed);
    slots_of(store, some_keys(200'000));
    // values, state, key, count, version
    const double rows = 200'000.0 * static_cast<double>(64 * bytes_of(type) + 4 + 8 + 4 + 8);
    EXPECT_LE(static_cast<double>(store.memory_bytes()), 1.15 * rows + (16 << 20));
    EXPECT_GE(static_cast<double>(store.memory_bytes()), rows);
  }
}

/// 200 steps, each a hundredth of the distance between neighbours: rounded to nearest, no row would ever move.
TEST(RowStore, SmallStepsMoveRowsOf16BitsOnAverage) {
  for (const RowType type : {RowType::kFloat16, RowType::kBFloat16}) {
    TableSpec spec = hashed_spec(RowOptimizerKind::kSgd);
    spec.row_type = type;
    spec.optimizer.learning_rate = 1.0;
    RowStore store(spec, {0, 32}, kSeed);
    const auto keys = some_keys(3000);
    const auto slots = slots_of(store, keys);
    store.assign(slots, at::empty({3000, 6}).fill_(1.5), 1);
    const double unit = type == RowType::kFloat16 ? 0x1p-10 : 0x1p-7;
    const at::Tensor gradients = at::empty({3000, 6}).fill_(-unit / 100.0);
    const std::vector<int64_t> occurrences(keys.size());
    for (int64_t step = 2; step < 202; ++step) {
      store.update({.slots = slots, .gradients = gradients, .occurrences = occurrences, .step = step, .keys = keys});
    }
    const auto values = values_of(store, keys);
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
    // The sum of 200 draws of p = 1/100 has deviation 1.4; the mean over 18,000 values has 0.0105.
    EXPECT_NEAR((mean - 1.5) / unit, 2.0, 0.05);
  }
}

TEST(RowStore, RowsOf16BitsStartRoundedAndConvertOnTheWay) {
  TableSpec spec = hashed_spec();
  RowStore wide(spec, {0, 32}, kSeed);
  spec.row_type = RowType::kFloat16;
  RowStore half(spec, {0, 32}, kSeed);
  const auto keys = some_keys(50);
  slots_of(wide, keys);
  const auto slots = slots_of(half, keys);
  const auto exact = values_of(wide, keys), rounded = values_of(half, keys);
  at::Tensor stored = at::empty({50, 6}, at::kHalf);
  half.gather(slots, stored);
  for (size_t i = 0; i < exact.size(); ++i) {
    const Float16 expected = nearest<Float16>(exact[i]);
    EXPECT_EQ(rounded[i], widen(expected));
    EXPECT_EQ(static_cast<const Float16*>(stored.const_data_ptr())[i], expected);
  }
  const std::vector<int64_t> occurrences(50);
  const RowUpdate without_keys{.slots = slots, .gradients = at::empty({50, 6}), .occurrences = occurrences, .step = 1};
  EXPECT_THROW(half.update(without_keys), InternalError);
}

TEST(RowStore, RefusesWhatBreaksItsContract) {
  RowStore store(hashed_spec(), {0, 16}, kSeed);
  std::vector<uint64_t> foreign;
  for (uint64_t key = 0; foreign.empty(); ++key) {
    if (bucket_of(key, 32) >= 16) foreign.push_back(key);
  }
  std::vector<int64_t> slot(1);
  EXPECT_THROW(store.find_or_create(foreign, slot), InternalError);
  EXPECT_THROW(store.export_bucket(16), InternalError);
  const std::vector<int64_t> none;
  EXPECT_THROW(store.update({.slots = none, .gradients = at::empty({0, 6}), .occurrences = none, .step = 0}),
               InternalError);
  EXPECT_THROW(store.update({.slots = none, .gradients = at::empty({0, 5}), .occurrences = none, .step = 1}),
               InternalError);
  BucketRows rows{
      .keys = foreign, .values = at::empty({1, 6}), .state = at::empty({1, 12}), .counts = {0}, .versions = {0}};
  EXPECT_THROW(store.import_bucket(0, rows), InternalError);
}

TEST(RowStore, RefusesAGradientThatIsNotFinite) {
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY, 1e30F}) {
    RowStore store(hashed_spec(), {0, 32}, kSeed);
    const auto keys = some_keys(40);
    const auto slots = slots_of(store, keys);
    const auto before = values_of(store, keys);
    at::Tensor gradients = at::empty({40, 6}).fill_(1.0);
    gradients.mutable_data_ptr<float>()[33 * 6 + 4] = bad;
    const std::vector<int64_t> occurrences(40);
    const RowUpdate update{.slots = slots, .gradients = gradients, .occurrences = occurrences, .step = 3, .rank = 2};
    try {
      store.update(update);
      ADD_FAILURE() << bad << " was taken";
    } catch (const DataError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadData);
      const std::string message = error.what();
      EXPECT_EQ(message.find(concat("table \"item\": the gradient of key ", static_cast<int64_t>(keys[33]), " is ", bad,
                                    " in column 4 at step 3 on rank 2; ")),
                0U)
          << message;
    }
    const auto after = values_of(store, keys);
    EXPECT_TRUE(std::equal(before.begin() + 33 * 6, before.begin() + 34 * 6, after.begin() + 33 * 6));
  }
}

TEST(RowStore, TakesAnyGradientWhenToldSo) {
  TableSpec spec = hashed_spec(RowOptimizerKind::kSgd);
  spec.optimizer.check_finite = false;
  RowStore store(spec, {0, 32}, kSeed);
  const std::vector<uint64_t> key{1};
  const std::vector<int64_t> occurrences{1};
  const auto slot = slots_of(store, key);
  store.update({.slots = slot, .gradients = at::empty({1, 6}).fill_(NAN), .occurrences = occurrences, .step = 1});
  for (const float value : values_of(store, key)) EXPECT_TRUE(std::isnan(value));
}

TEST(RowStore, DenseKeyOutsideTheTableIsADataError) {
  RowStore store(dense_spec(10), {0, 16}, kSeed);
  std::vector<int64_t> slot(1);
  try {
    store.find_or_create(std::vector<uint64_t>{10}, slot);
    ADD_FAILURE() << "key 10 was taken";
  } catch (const DataError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kBadData);
    EXPECT_NE(std::string(error.what()).find("table \"brand\": key 10"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("[0, 10)"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace rondo
