#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "sharding/exchange/id_exchange.h"
#include "sharding/exchange/row_exchange.h"
#include "tests/support/rank_test.h"

namespace rondo {
namespace {

using testing::RankTest;

class ExchangeTest : public RankTest {};

/// Ids that rank `from` asks of rank `to`: number and values depend on both and on the table.
int64_t asked_rows(int from, int to, int table) { return (from + 2 * to + table) % 4; }
uint64_t asked_key(int from, int to, int table, int64_t i) {
  return ~uint64_t{0} - static_cast<uint64_t>(((from * 10 + to) * 10 + table) * 10 + i);
}

TEST_P(ExchangeTest, IdsOfAllTablesReachTheirOwners) {
  on_each_rank([](Communicator& comm) {
    constexpr int kTables = 3;  // the last is replicated
    const int me = comm.rank(), world = comm.size();
    IdExchange exchange(comm);
    for (int call = 0; call < 2; ++call) {
      std::vector<std::vector<uint64_t>> keys(kTables);
      std::vector<std::vector<int64_t>> occurrences(kTables), rows(kTables);
      for (int t = 0; t < kTables; ++t) {
        for (int to = 0; to < world; ++to) {
          const bool to_all = t == 2;
          const int64_t n = to_all ? me + 1 : asked_rows(me, to, t);
          rows[t].push_back(n);
          for (int64_t i = 0; i < n && (!to_all || to == 0); ++i) {
            keys[t].push_back(asked_key(me, to_all ? 9 : to, t, i));
            occurrences[t].push_back(1000 * me + i + (int64_t{1} << 30));
          }
        }
      }
      std::vector<AskedIds> asked;
      for (int t = 0; t < kTables; ++t) asked.push_back({keys[t], occurrences[t], rows[t], t == 2});
      std::vector<ReceivedIds> received(kTables);
      exchange.send_counts(asked, received);
      exchange.send_ids(asked, received);
      exchange.take_ids(asked, received);
      for (int t = 0; t < kTables; ++t) {
        std::vector<uint64_t> expected;
        std::vector<int64_t> expected_occurrences;
        for (int from = 0; from < world; ++from) {
          const int64_t n = t == 2 ? from + 1 : asked_rows(from, me, t);
          EXPECT_EQ(received[t].rows[from], n);
          for (int64_t i = 0; i < n; ++i) {
            expected.push_back(asked_key(from, t == 2 ? 9 : me, t, i));
            // Occurrences count from the first id of the segment.
            expected_occurrences.push_back(1000 * from + i + (int64_t{1} << 30));
          }
        }
        EXPECT_EQ(received[t].keys, expected) << "table " << t;
        EXPECT_EQ(received[t].occurrences, expected_occurrences) << "table " << t;
      }
    }
  });
}

TEST_P(ExchangeTest, RowsOfSeveralMatricesTravelTogether) {
  const testing::RankBody body = [](Communicator& comm) {
    const int me = comm.rank(), world = comm.size();
    const std::vector<int64_t> widths{3, 1};
    const auto value = [](int from, int to, size_t m, int64_t i) {
      return static_cast<double>(1000 * from + 100 * to + 10 * static_cast<int>(m)) + static_cast<double>(i);
    };
    RowExchange exchange(comm);
    for (int call = 0; call < 3; ++call) {
      std::vector<std::vector<int64_t>> send(2), receive(2);
      for (int m = 0; m < 2; ++m) {
        for (int r = 0; r < world; ++r) {
          send[m].push_back(call == 1 ? 0 : asked_rows(me, r, m));
          receive[m].push_back(call == 1 ? 0 : asked_rows(r, me, m));
        }
      }
      const std::vector<MatrixRoute> routes{{widths[0], send[0], receive[0]}, {widths[1], send[1], receive[1]}};
      exchange.plan(routes, at::kDouble);
      for (size_t m = 0; m < 2; ++m) {
        for (int to = 0; to < world; ++to) {
          if (to == me) continue;
          const at::Tensor out = exchange.outgoing(m, to);
          EXPECT_EQ(out.size(0), send[m][static_cast<size_t>(to)]);
          for (int64_t i = 0; i < out.numel(); ++i) out.mutable_data_ptr<double>()[i] = value(me, to, m, i);
        }
      }
      exchange.exchange("test rows");
      for (size_t m = 0; m < 2; ++m) {
        for (int from = 0; from < world; ++from) {
          if (from == me) continue;
          const at::Tensor in = exchange.incoming(m, from);
          EXPECT_EQ(in.sizes(), (at::IntArrayRef{receive[m][static_cast<size_t>(from)], widths[m]}));
          for (int64_t i = 0; i < in.numel(); ++i) {
            EXPECT_EQ(in.const_data_ptr<double>()[i], value(from, me, m, i)) << "from " << from << " matrix " << m;
          }
        }
      }
    }
  };
  on_each_rank(body);
  CommunicatorOptions copying = testing::test_options();
  copying.share_memory = false;
  on_each_rank(body, copying);
}

RONDO_INSTANTIATE_RANK_TEST(ExchangeTest);

}  // namespace
}  // namespace rondo
