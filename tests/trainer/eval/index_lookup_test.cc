#include "trainer/eval/index_lookup.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/rank_test.h"

namespace rondo {
namespace {

class IndexLookupTest : public testing::RankTest {};

TEST_P(IndexLookupTest, LooksItemsUpOnWhateverRank) {
  on_each_rank([&](Communicator& comm) {
    Catalog catalog;
    for (int item = 0; item < 11; ++item) {
      catalog.keys.push_back(static_cast<uint64_t>(item));
      append_text("i" + std::to_string(item), catalog.raw_keys);
      append_text(item % 2 == 0 ? "Thing " + std::to_string(item) : "", catalog.titles);
    }
    const ItemIndex index = build_item_index(comm, catalog, {}, [](std::span<const int32_t> places) {
      at::Tensor vectors = at::empty({static_cast<int64_t>(places.size()), 2}, at::kFloat);
      for (size_t i = 0; i < places.size(); ++i) vectors[static_cast<int64_t>(i)].fill_(places[i]);
      return ItemVectors{vectors, vectors.neg()};
    });
    const std::vector<std::string> asked{"i10", "i0", "nothing", "i7"};
    EXPECT_EQ(find_items(comm, index, asked), (std::vector<int32_t>{10, 0, -1, 7}));

    const std::vector<int32_t> places{9, 2, 9, 0};
    const auto texts = item_texts(comm, index, places);
    ASSERT_EQ(texts.size(), places.size());
    EXPECT_EQ(texts[0].raw_key, "i9");
    EXPECT_EQ(texts[0].title, "");
    EXPECT_EQ(texts[1].title, "Thing 2");
    EXPECT_EQ(texts[2].raw_key, "i9");
    EXPECT_EQ(texts[3].title, "Thing 0");

    // Rank r asks for r + 1 items, so a row that went to another rank shows.
    std::vector<int32_t> mine;
    for (int i = 0; i <= comm.rank(); ++i) mine.push_back(10 - (comm.rank() + i) % 11);
    const at::Tensor rows = history_vectors(comm, index, mine);
    ASSERT_EQ(rows.size(0), static_cast<int64_t>(mine.size()));
    for (size_t i = 0; i < mine.size(); ++i) {
      EXPECT_EQ(rows[static_cast<int64_t>(i)][1].item<float>(), static_cast<float>(-mine[i]));
    }
  });
}

RONDO_INSTANTIATE_RANK_TEST(IndexLookupTest);

}  // namespace
}  // namespace rondo
