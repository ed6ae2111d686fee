#include "trainer/eval/item_index.h"

#include <ATen/ops/empty.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/hash.h"
#include "tests/support/faulty_file_system.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "trainer/eval/index_manifest.h"

namespace rondo {
namespace {

using ::testing::AllOf;
using testing::FaultPlan;
using testing::FaultyFileSystem;
using ::testing::HasSubstr;
using testing::RankTest;
using testing::ScratchFolder;

constexpr int64_t kDim = 5;

const IndexStamp kStamp{"tower-digest", "tokenizer-digest", "catalogue-digest"};

Catalog catalog_of(int64_t items) {
  Catalog catalog;
  const auto add = [](TextColumn& column, const std::string& text) {
    column.bytes.insert(column.bytes.end(), text.begin(), text.end());
    column.offsets.push_back(static_cast<int64_t>(column.bytes.size()));
  };
  for (int64_t item = 0; item < items; ++item) {
    catalog.keys.push_back(mix64(static_cast<uint64_t>(item)));
    add(catalog.raw_keys, concat("item-", item));
    add(catalog.titles, item % 3 == 0 ? "" : concat("Title of ", item, " \u00e9"));
  }
  return catalog;
}

float value_of(int64_t place, int64_t column, float version) {
  return version + static_cast<float>(place) + 0.125F * static_cast<float>(column);
}

EncodeItems encoder(float version = 0.0F, int* calls = nullptr) {
  return [version, calls](std::span<const int32_t> places) {
    if (calls != nullptr) ++*calls;
    at::Tensor vectors = at::empty({static_cast<int64_t>(places.size()), kDim}, at::kFloat);
    auto* out = vectors.mutable_data_ptr<float>();
    for (const int32_t place : places) {
      for (int64_t column = 0; column < kDim; ++column) *out++ = value_of(place, column, version);
    }
    return ItemVectors{vectors, vectors.neg()};
  };
}

/// Every row that this rank has is that of its place.
void expect_rows(const ItemIndex& index, const Catalog& catalog, float version) {
  EXPECT_EQ(index.items, catalog.items());
  EXPECT_EQ(index.shard.vectors.size(0), index.shard.size());
  EXPECT_EQ(index.shard.vectors.size(1), kDim);
  EXPECT_EQ(index.histories.sizes(), index.shard.vectors.sizes());
  const auto* values = index.shard.vectors.const_data_ptr<float>();
  const auto* histories = index.histories.const_data_ptr<float>();
  for (int64_t row = 0; row < index.shard.size(); ++row) {
    const int32_t place = index.shard.places[static_cast<size_t>(row)];
    EXPECT_EQ(index.shard.keys[static_cast<size_t>(row)], catalog.keys[static_cast<size_t>(place)]);
    EXPECT_EQ(index.raw_keys.at(row), catalog.raw_keys.at(place));
    EXPECT_EQ(index.titles.at(row), catalog.titles.at(place));
    for (int64_t column = 0; column < kDim; ++column) {
      EXPECT_EQ(values[row * kDim + column], value_of(place, column, version)) << place;
      EXPECT_EQ(histories[row * kDim + column], -value_of(place, column, version)) << place;
    }
  }
}

class ItemIndexRankTest : public RankTest {};

TEST_P(ItemIndexRankTest, EncodesEachItemOnceInEquallyManyCalls) {
  for (const int64_t items : {0, 1, 5, 23}) {
    const Catalog catalog = catalog_of(items);
    on_each_rank([&](Communicator& comm) {
      int calls = 0;
      const ItemIndex index = build_item_index(comm, catalog, kStamp, encoder(0.0F, &calls), 3);
      expect_rows(index, catalog, 0.0F);
      EXPECT_EQ(sum_of(comm, index.shard.size(), "items"), items);
      EXPECT_EQ(sum_of(comm, calls, "calls"), calls * comm.size());
      EXPECT_GE(calls, 1);
    });
  }
}

TEST_P(ItemIndexRankTest, IsReadOnAnyOtherWorld) {
  for (const int64_t items : {0, 2, 23}) {
    const Catalog catalog = catalog_of(items);
    const ScratchFolder folder;
    on_each_rank([&](Communicator& comm) {
      const auto files = make_posix_file_system();
      write_item_index(comm, *files, folder.path() / "index", build_item_index(comm, catalog, kStamp, encoder()));
    });
    for (const int readers : {1, 2, 3, 7}) {
      on_each_rank_of(readers, [&](Communicator& comm) {
        const ItemIndex index = read_item_index(comm, folder.path() / "index", kStamp);
        expect_rows(index, catalog, 0.0F);
        EXPECT_EQ(sum_of(comm, index.shard.size(), "items"), items);
        EXPECT_EQ(index.stamp.tower, kStamp.tower);
      });
    }
  }
}

TEST_P(ItemIndexRankTest, AFailureOnOneRankIsOneOnAll) {
  const Catalog catalog = catalog_of(20);
  const ScratchFolder folder;
  on_each_rank([&](Communicator& comm) {
    FaultyFileSystem files(comm.rank() == comm.size() - 1 ? FaultPlan{.kind = FaultPlan::Kind::kFail, .at = 2}
                                                          : FaultPlan{});
    const ItemIndex index = build_item_index(comm, catalog, kStamp, encoder());
    try {
      write_item_index(comm, files, folder.path(), index);
      ADD_FAILURE() << "nothing thrown";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
      EXPECT_EQ(error.exit_code(), ExitCode::kIoOrDeadline);
    }
  });
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "index.json"));
}

class ItemIndexTest : public ::testing::Test {
 protected:
  void write(float version, const IndexStamp& stamp = kStamp) {
    const auto files = make_posix_file_system();
    write_item_index(*comm_, *files, folder_.path(), build_item_index(*comm_, catalog_, stamp, encoder(version)));
  }

  template <typename E>
  std::string error_of(ExitCode code, const IndexStamp& expected = kStamp) {
    try {
      read_item_index(*comm_, folder_.path(), expected);
    } catch (const E& error) {
      EXPECT_EQ(error.exit_code(), code);
      return error.what();
    }
    ADD_FAILURE() << "nothing thrown";
    return "";
  }

  std::filesystem::path part() const { return folder_.path() / read_manifest(folder_.path()).parts.front().file; }

  int64_t files_here() const {
    return std::distance(std::filesystem::directory_iterator(folder_.path()), std::filesystem::directory_iterator());
  }

  ScratchFolder folder_;
  Catalog catalog_ = catalog_of(9);
  std::unique_ptr<Communicator> comm_ = make_single_communicator({});
};

TEST_F(ItemIndexTest, RefusesOneOfAnotherModelOrCatalogue) {
  write(0.0F);
  const auto stale = [&](const IndexStamp& expected) {
    return error_of<ConfigError>(ExitCode::kBadConfiguration, expected);
  };
  EXPECT_THAT(stale({"other", "", ""}), AllOf(HasSubstr("stale: it was made from another tower (tower-digest, expected "
                                                        "other)"),
                                              HasSubstr("rondo evaluate")));
  EXPECT_THAT(stale({kStamp.tower, "other", ""}), HasSubstr("another tokenizer"));
  EXPECT_THAT(stale({kStamp.tower, kStamp.tokenizer, "other"}), HasSubstr("another catalogue"));
  EXPECT_NO_THROW(read_item_index(*comm_, folder_.path(), {}));
}

TEST_F(ItemIndexTest, SaysThatThereIsNone) {
  EXPECT_THAT(error_of<DataError>(ExitCode::kMissingInput), HasSubstr("no item index in"));
}

TEST_F(ItemIndexTest, TakesThePlaceOfAnEarlierOne) {
  write(0.0F);
  std::ofstream(folder_.path() / concat("rank-3", kPartialEnding)) << "left by a crash";
  write(100.0F, {"new", "", ""});
  EXPECT_EQ(files_here(), 2);
  expect_rows(read_item_index(*comm_, folder_.path(), {"new", "", ""}), catalog_, 100.0F);
}

TEST_F(ItemIndexTest, FindsDamageBeforeItParses) {
  write(0.0F);
  std::fstream file(part(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put('\x7f');
  file.close();
  EXPECT_THAT(error_of<StorageError>(ExitCode::kIoOrDeadline), HasSubstr("is damaged: its SHA-256"));
  std::filesystem::remove(part());
  EXPECT_THAT(error_of<StorageError>(ExitCode::kIoOrDeadline), HasSubstr("items-"));
}

TEST_F(ItemIndexTest, RefusesAManifestThatIsNone) {
  const std::string digest(64, 'a');
  const std::string head = R"({"format":1,"items":9,"dim":5,"tower":"","tokenizer":"","catalogue":"","parts":[)";
  for (const std::string& text :
       {std::string("{"), std::string("[]"), std::string(R"({"format":2})"), head + "]}",
        head + R"({"items":9,"sha256":"../../etc/passwd"}]})", head + R"({"items":-9,"sha256":")" + digest + "\"}]}",
        head + R"({"items":9.5,"sha256":")" + digest + "\"}]}"}) {
    std::ofstream(folder_.path() / "index.json") << text;
    EXPECT_THAT(error_of<StorageError>(ExitCode::kIoOrDeadline), HasSubstr("is not the index.json")) << text;
  }
}

TEST_F(ItemIndexTest, ACrashAtAnyMomentLeavesOneOfTheTwo) {
  const auto index_of = [&](const char* tower, float version) {
    return build_item_index(*comm_, catalog_, {tower, "", ""}, encoder(version));
  };
  FaultyFileSystem counting;
  write_item_index(*comm_, counting, folder_.path(), index_of("old", 0.0F));
  const auto first = static_cast<int64_t>(counting.log().size());
  bool kept = false, replaced = false, stopped = true;
  for (int64_t at = first; stopped; ++at) {
    const ScratchFolder folder;
    FaultyFileSystem files({.kind = FaultPlan::Kind::kStop, .at = at});
    write_item_index(*comm_, files, folder.path(), index_of("old", 0.0F));
    try {
      write_item_index(*comm_, files, folder.path(), index_of("new", 100.0F));
      stopped = false;
    } catch (const StorageError&) {
    }
    files.lose_power(folder.path());
    const ItemIndex index = read_item_index(*comm_, folder.path(), {});
    expect_rows(index, catalog_, index.stamp.tower == "new" ? 100.0F : 0.0F);
    (index.stamp.tower == "new" ? replaced : kept) = true;
  }
  EXPECT_TRUE(kept && replaced);
}

RONDO_INSTANTIATE_RANK_TEST(ItemIndexRankTest);

}  // namespace
}  // namespace rondo
