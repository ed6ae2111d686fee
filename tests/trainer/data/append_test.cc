#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/trainer/data/ingest_fixture.h"
#include "trainer/data/catalog.h"
#include "trainer/data/dataset_description.h"
#include "trainer/data/event_log.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class AppendTest : public ::rondo::testing::IngestFixture {
 protected:
  void first() {
    run(plain_schema(file("e0.csv", "user,item,time,what\nu1,a,10,view\nu2,b,20,view\nu2,x,bad,view\n"),
                     file("c0.csv", "item,title,about,genres\na,Red Shoe,leather,shoe|red\nb,Blue Hat,,hat\n"), 0.5));
  }
  DatasetRecord second() {
    options_.append = true;
    return run(plain_schema(file("e1.csv", "user,item,time,what\nu3,c,5,buy\nu1,a,30,buy\nu1,c,10,view\n"),
                            file("c1.csv", "item,title,about,genres\nc,Green Sock,,sock|red\na,Other,,x\n"), 0.5));
  }

  static SchemaOptions plain_schema(const std::string& events, const std::string& catalog, double rejected) {
    SchemaOptions schema = IngestFixture::plain_schema(events, catalog);
    schema.max_rejected_fraction = rejected;
    return schema;
  }
  using IngestFixture::plain_schema;
};

/// Events of a user as "item@seconds:behaviour".
std::vector<std::string> events_of(const EventLog& log, const Catalog& catalog, const std::string& user) {
  std::vector<std::string> out;
  const auto place = static_cast<size_t>(log.find_user(user));
  for (auto e = static_cast<size_t>(log.user_offsets[place]); e < static_cast<size_t>(log.user_offsets[place + 1]);
       ++e) {
    out.push_back(std::string(catalog.raw_keys.at(log.item[e])) + "@" + std::to_string(log.time[e] / 1'000'000) + ":" +
                  log.behaviour_names[log.behaviour[e]]);
  }
  return out;
}

TEST_F(AppendTest, AddsAWindowAndRenumbersNothing) {
  first();
  std::ofstream(options_.out / "vocab.txt") << "[PAD]\n";
  std::ofstream(options_.out / "tokens-0123.h5") << "old";
  const Catalog before = Catalog::open(options_.out);
  const DatasetRecord record = second();
  EXPECT_EQ(record.users, 3);
  EXPECT_EQ(record.items, 3);
  EXPECT_EQ(record.events, 5);
  EXPECT_EQ(record.windows.size(), 2U);
  EXPECT_EQ(record.windows.back().events, 3);
  EXPECT_EQ(record.rejected.at("bad time"), 1);

  const Catalog catalog = Catalog::open(options_.out);
  EXPECT_TRUE(std::equal(before.keys.begin(), before.keys.end(), catalog.keys.begin()));
  EXPECT_EQ(catalog.titles.at(0), "Red Shoe");  // what is known of an item stays
  EXPECT_EQ(catalog.titles.at(2), "Green Sock");
  EXPECT_EQ(catalog.bags[0].keys[static_cast<size_t>(catalog.bags[0].offsets[0])], before.bags[0].keys[0]);

  const EventLog log = EventLog::open(options_.out, catalog);
  EXPECT_TRUE(std::is_sorted(log.user_keys.begin(), log.user_keys.end()));
  EXPECT_THAT(events_of(log, catalog, "u1"), ElementsAre("a@10:view", "c@10:view", "a@30:buy"));
  EXPECT_THAT(events_of(log, catalog, "u2"), ElementsAre("b@20:view"));
  EXPECT_THAT(events_of(log, catalog, "u3"), ElementsAre("c@5:buy"));
  EXPECT_THAT(read_file(options_.out / "rejected.tsv"), HasSubstr("bad time"));
  EXPECT_TRUE(std::filesystem::exists(options_.out / "vocab.txt"));
  EXPECT_FALSE(std::filesystem::exists(options_.out / "tokens-0123.h5"));
}

TEST_F(AppendTest, RefusesASourceThatIsThereAlready) {
  first();
  options_.append = true;
  const auto again = plain_schema(root_ / "e0.csv", root_ / "c0.csv", 0.5);
  EXPECT_THAT(message_of<DataError>([&] { run(again); }, ExitCode::kBadData), HasSubstr("is in the dataset already"));
}

TEST_F(AppendTest, RefusesASchemaOfOtherKeys) {
  first();
  options_.append = true;
  auto other = plain_schema(file("e1.csv", "user,item,time,what\nu3,c,5,buy\n"), root_ / "c0.csv", 0.5);
  other.salt = 7;
  EXPECT_THAT(message_of<ConfigError>([&] { run(other); }, ExitCode::kBadConfiguration), HasSubstr("schema.salt"));
}

TEST_F(AppendTest, NeedsADataset) {
  options_.append = true;
  const auto schema = plain_schema(file("e.csv", "user,item,time,what\nu,a,1,view\n"), "");
  EXPECT_THAT(message_of<DataError>([&] { run(schema); }, ExitCode::kMissingInput), HasSubstr("no dataset in"));
}

TEST_F(AppendTest, AFailureLeavesTheDatasetAsItWas) {
  first();
  const std::string record = read_file(options_.out / "dataset.textproto");
  options_.append = true;
  const auto bad = plain_schema(file("e1.csv", "user,item,time,what\nu,a,x,view\n"), root_ / "c0.csv", 0.0);
  EXPECT_THAT(message_of<DataError>([&] { run(bad); }, ExitCode::kBadData), HasSubstr("rows were rejected"));
  EXPECT_EQ(read_file(options_.out / "dataset.textproto"), record);
  verify_dataset(options_.out);
}

TEST_F(AppendTest, ADescriptionSumsUpWindows) {
  first();
  second();
  const DatasetDescription description = describe_dataset(options_.out);
  EXPECT_EQ(description.first_time, 5'000'000);
  EXPECT_EQ(description.last_time, 30'000'000);
  EXPECT_EQ(description.rows_rejected, 1);
  EXPECT_FALSE(description.time_is_order);
  EXPECT_GT(description.bytes, 1000);
  EXPECT_EQ(description.record.schema.events.user, "user");
  EXPECT_EQ(description.record.schema.catalog.features.at(0).column.separator, "|");

  std::ofstream(options_.out / "events-00001.h5", std::ios::app) << "x";
  EXPECT_THAT(message_of<StorageError>([&] { verify_dataset(options_.out); }, ExitCode::kIoOrDeadline),
              HasSubstr("events-00001.h5 is not what was written"));
}

}  // namespace
}  // namespace rondo
