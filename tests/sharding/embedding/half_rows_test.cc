// Rows of 16 bits, and codecs, over several ranks.

#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "sharding/base/hash.h"
#include "sharding/base/random.h"
#include "sharding/embedding/sharded_embedding.h"
#include "tests/support/rank_test.h"
#include "tests/support/reference_embedding.h"

namespace rondo {
namespace {

constexpr uint64_t kSeed = 17;
constexpr CounterRandom kRandom(3, 0, RandomPurpose::kTest);

class HalfRowsTest : public testing::RankTest {};

/// Both types x every optimizer x row-wise and replicated, odd widths.
std::vector<TableSpec> half_tables() {
  std::vector<TableSpec> specs;
  for (const auto kind : {RowOptimizerKind::kSgd, RowOptimizerKind::kRowWiseAdagrad, RowOptimizerKind::kAdam,
                          RowOptimizerKind::kAdagrad, RowOptimizerKind::kRowWiseAdam}) {
    for (const Placement placement : {Placement::kRowWise, Placement::kReplicated}) {
      for (const RowType type : {RowType::kFloat16, RowType::kBFloat16}) {
        specs.push_back({.name = concat("half_", specs.size()),
                         .dim = 1 + 5 * static_cast<int64_t>(specs.size() % 4),
                         .buckets = 64,
                         .placement = placement,
                         .row_type = type,
                         .optimizer = {.kind = kind, .learning_rate = 0.1, .weight_decay = 0.01}});
      }
    }
  }
  return specs;
}

/// Ids of the global batch, with duplicates.
std::vector<uint64_t> global_ids(int64_t step) {
  std::vector<uint64_t> ids(static_cast<size_t>(80 + step));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = mix64(i * i % 41);
  return ids;
}

TableIds ids_of(const std::vector<uint64_t>& ids, size_t first, size_t last) {
  TableIds result{.keys = at::empty({static_cast<int64_t>(last - first)}, at::kLong), .counted = 0};
  std::copy(ids.begin() + static_cast<int64_t>(first), ids.begin() + static_cast<int64_t>(last),
            reinterpret_cast<uint64_t*>(result.keys.mutable_data_ptr<int64_t>()));
  return result;
}

/// Uneven: the first rank of several has none.
struct Share {
  size_t first, last;
};
Share share_of(size_t n, const Communicator& comm) {
  const auto rank = static_cast<size_t>(comm.rank()), world = static_cast<size_t>(comm.size());
  if (world == 1) return {0, n};
  return {rank == 0 ? 0 : n * (rank - 1) / (world - 1), n * rank / (world - 1)};
}

/// Values and state of every row by (table, key), after three steps of gradients that sum without rounding.
std::map<std::pair<int64_t, uint64_t>, std::string> trained_half_rows(Communicator& comm) {
  ShardedEmbedding embedding(half_tables(), kSeed, comm);
  for (int64_t step = 1; step <= 3; ++step) {
    std::vector<TableIds> ids;
    std::vector<size_t> starts;
    for (int64_t t = 0; t < embedding.tables(); ++t) {
      const auto global = global_ids(step);
      const Share share = share_of(global.size(), comm);
      ids.push_back(ids_of(global, share.first, share.last));
      starts.push_back(share.first);
    }
    const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
    std::vector<TableRows> rows = embedding.forward(routed, step);
    for (size_t t = 0; t < rows.size(); ++t) {
      EXPECT_EQ(rows[t].values.scalar_type(), at::kFloat);
      const int64_t dim = rows[t].values.size(1);
      const int64_t* const positions = routed.tables[t].positions.const_data_ptr<int64_t>();
      at::Tensor gradient = at::zeros(rows[t].values.sizes(), at::kFloat);
      for (int64_t i = 0; i < ids[t].keys.size(0); ++i) {
        for (int64_t c = 0; c < dim; ++c) {
          // A multiple of 1/32 of the row, the column and the example.
          const uint64_t drawn =
              kRandom.below(64, starts[t] + static_cast<uint64_t>(100 * step + i), static_cast<uint64_t>(c));
          gradient.mutable_data_ptr<float>()[positions[i] * dim + c] += static_cast<float>(drawn) / 32.0F - 0.8125F;
        }
      }
      rows[t].values.mutable_grad() = gradient;
    }
    embedding.backward(routed, rows, step, 1.0);
  }
  std::map<std::pair<int64_t, uint64_t>, std::string> result;
  for (int64_t t = 0; t < embedding.tables(); ++t) {
    const BucketRows rows = embedding.store(t).export_buckets(embedding.store(t).range()).rows;
    const auto bytes_of_row = [](const at::Tensor& all, size_t row) {
      const size_t bytes = all.nbytes() / static_cast<size_t>(all.size(0));
      return std::string(static_cast<const char*>(all.const_data_ptr()) + row * bytes, bytes);
    };
    EXPECT_EQ(rows.values.element_size(), 2U);
    for (size_t i = 0; i < rows.keys.size(); ++i) {
      result[{t, rows.keys[i]}] = bytes_of_row(rows.values, i) + bytes_of_row(rows.state, i);
    }
  }
  return result;
}

TEST_P(HalfRowsTest, RowsOf16BitsAreBitEqualOnEveryWorld) {
  std::map<std::pair<int64_t, uint64_t>, std::string> expected;
  run_ranks(1, testing::test_options(), [&](Communicator& comm) { expected = trained_half_rows(comm); });
  on_each_rank([&](Communicator& comm) {
    const auto got = trained_half_rows(comm);
    int64_t owned = 0;
    for (const auto& [row, bytes] : got) {
      EXPECT_EQ(bytes, expected.at(row)) << "table " << row.first << " key " << row.second;
      owned += half_tables()[static_cast<size_t>(row.first)].placement != Placement::kReplicated || comm.rank() == 0;
    }
    EXPECT_EQ(sum_of(comm, owned, "rows"), static_cast<int64_t>(expected.size()));
  });
}

/// Two tables of the same rows and gradients, with and without codecs: what comes and goes is rounded to nearest.
void check_codec(Communicator& comm, WireCodec codec, RowType row_type) {
  constexpr int64_t kRows = 64, kDim = 5;
  const TableSpec spec{.name = "item",
                       .dim = kDim,
                       .key_space = KeySpace::kDense,
                       .rows = kRows,
                       .buckets = 16,
                       .row_type = row_type,
                       .row_codec = codec,
                       .gradient_codec = codec,
                       .optimizer = {.kind = RowOptimizerKind::kSgd, .learning_rate = 1.0}};
  ShardedEmbedding embedding({spec}, kSeed, comm);
  testing::ReferenceEmbedding reference(spec, kSeed);
  std::vector<uint64_t> keys(kRows);
  for (uint64_t key = 0; key < kRows; ++key) keys[key] = key;
  const std::vector<TableIds> ids{ids_of(keys, 0, keys.size())};
  const double bound = codec == WireCodec::kFloat16 ? 0x1p-11 : 0x1p-8;
  const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
  std::vector<TableRows> rows = embedding.forward(routed, 1);
  const int64_t* const positions = routed.tables[0].positions.const_data_ptr<int64_t>();
  rows[0].values.mutable_grad() = at::zeros({kRows, kDim}, at::kFloat);
  bool rounded = false;
  for (int64_t i = 0; i < kRows; ++i) {
    const bool mine = embedding.owner(0, keys[static_cast<size_t>(i)]) == comm.rank();
    for (int64_t c = 0; c < kDim; ++c) {
      const auto exact = static_cast<float>(reference.row(static_cast<uint64_t>(i)).values[static_cast<size_t>(c)]);
      const float got = rows[0].values.const_data_ptr<float>()[positions[i] * kDim + c];
      if (row_type == RowType::kFloat32) {
        EXPECT_LE(std::abs(got - exact), mine ? 0.0 : bound * std::abs(exact) + 1e-7);
        rounded = rounded || got != exact;
      }
      rows[0].values.mutable_grad().mutable_data_ptr<float>()[positions[i] * kDim + c] = 1.0F + 0x1p-13F;
    }
  }
  EXPECT_EQ(rounded, comm.size() > 1 && row_type == RowType::kFloat32);
  const at::Tensor before = at::empty({kRows, kDim}, at::kFloat);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t c = 0; c < kDim; ++c) {
      before.mutable_data_ptr<float>()[i * kDim + c] =
          static_cast<float>(reference.row(static_cast<uint64_t>(i)).values[static_cast<size_t>(c)]);
    }
  }
  embedding.backward(routed, rows, 1, 1.0);
  int64_t asked = 0, answered = 0;
  for (int r = 0; r < comm.size(); ++r) {
    if (r == comm.rank()) continue;
    asked += routed.tables[0].parts[0].send_rows[static_cast<size_t>(r)];
    answered += routed.tables[0].parts[0].receive_rows[static_cast<size_t>(r)];
  }
  EXPECT_EQ(embedding.traffic().row_bytes, answered * (kDim * 2 + 4));
  EXPECT_EQ(embedding.traffic().gradient_bytes, asked * kDim * 2);
  if (row_type != RowType::kFloat32) return;
  // Of world times 1 + 2^-13 only the owner's own part keeps the 2^-13.
  const float summed = static_cast<float>(comm.size()) + 0x1p-13F;
  const BucketRows after = embedding.store(0).export_buckets(embedding.store(0).range()).rows;
  for (size_t i = 0; i < after.keys.size(); ++i) {
    for (int64_t c = 0; c < kDim; ++c) {
      EXPECT_NEAR(after.values.const_data_ptr<float>()[static_cast<int64_t>(i) * kDim + c],
                  before.const_data_ptr<float>()[static_cast<int64_t>(after.keys[i]) * kDim + c] - summed, 3e-6);
    }
  }
}

TEST_P(HalfRowsTest, CodecsRoundWhatTravelsAndHalveItsBytes) {
  on_each_rank([](Communicator& comm) {
    for (const WireCodec codec : {WireCodec::kFloat16, WireCodec::kBFloat16}) {
      for (const RowType type : {RowType::kFloat32, RowType::kFloat16, RowType::kBFloat16}) {
        check_codec(comm, codec, type);
      }
    }
  });
}

TEST_P(HalfRowsTest, ReplicasStayBitEqualWhenGradientsAreRounded) {
  on_each_rank([](Communicator& comm) {
    const TableSpec spec{
        .name = "brand", .dim = 3, .placement = Placement::kReplicated, .gradient_codec = WireCodec::kBFloat16};
    ShardedEmbedding embedding({spec}, kSeed, comm);
    const std::vector<TableIds> ids{ids_of({4, 5}, 0, 2)};
    const RoutedIds routed = embedding.route(ids, LookupMode::kTrain);
    std::vector<TableRows> rows = embedding.forward(routed, 1);
    rows[0].values.mutable_grad() = at::empty({2, 3}, at::kFloat).fill_(1.0 / (3.0 + comm.rank()));
    embedding.backward(routed, rows, 1, 1.0);
    const BucketRows after = embedding.store(0).export_buckets(embedding.store(0).range()).rows;
    const auto digest = static_cast<int64_t>(
        hash_bytes({static_cast<const char*>(after.values.const_data_ptr()), after.values.nbytes()}));
    EXPECT_EQ(digest, broadcast_value(comm, digest, "digest"));
  });
}

RONDO_INSTANTIATE_RANK_TEST(HalfRowsTest);

}  // namespace
}  // namespace rondo
