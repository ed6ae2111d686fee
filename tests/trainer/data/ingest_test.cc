#include "trainer/data/ingest.h"

#include <signal.h>
#include <sys/resource.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "sharding/base/hash.h"
#include "tests/trainer/data/ingest_fixture.h"
#include "trainer/data/catalog.h"
#include "trainer/data/event_log.h"
#include "trainer/data/presets.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using IngestTest = ::rondo::testing::IngestFixture;

constexpr char kCatalogText[] = "item,title,about,genres\na,Red Shoe,leather,shoe|red\nb,Blue Hat,,hat\n";

TEST_F(IngestTest, SortsEventsByUserAndTimeAndJoinsTheCatalogue) {
  const auto schema = plain_schema(
      file("e.csv", "user,item,time,what\nu2,a,30,buy\nu1,b,20,view\nu1,a,10,view\nu2,c,30,view\nu1,b,20,view\n"),
      file("c.csv", kCatalogText));
  const DatasetRecord record = run(schema);
  EXPECT_EQ(record.users, 2);
  EXPECT_EQ(record.items, 3);  // c is only in the events
  EXPECT_EQ(record.events, 4);
  EXPECT_EQ(record.duplicates_dropped, 1);
  EXPECT_EQ(record.rows_read, 7);

  const Catalog catalog = Catalog::open(options_.out);
  EXPECT_EQ(catalog.titles.at(0), "Red Shoe");
  EXPECT_EQ(catalog.texts.at(0), "Red Shoe leather");
  EXPECT_EQ(catalog.raw_keys.at(2), "c");
  EXPECT_EQ(catalog.titles.at(2), "");
  ASSERT_EQ(catalog.bags.size(), 1U);
  EXPECT_THAT(catalog.bags[0].offsets, ElementsAre(0, 2, 3, 3));
  EXPECT_EQ(catalog.find(hash_bytes("b")), 1);

  const EventLog events = EventLog::open(options_.out, catalog);
  EXPECT_TRUE(std::is_sorted(events.user_keys.begin(), events.user_keys.end()));
  const int64_t u1 = events.find_user("u1");
  const auto begin = static_cast<size_t>(events.user_offsets[static_cast<size_t>(u1)]);
  EXPECT_EQ(events.time[begin], 10'000'000);
  EXPECT_EQ(events.item[begin], 0);
  EXPECT_EQ(events.time[begin + 1], 20'000'000);
  const auto of_u2 = static_cast<size_t>(events.user_offsets[static_cast<size_t>(events.find_user("u2"))]);
  EXPECT_EQ(events.item[of_u2], 0);  // equal times stay in file order
  EXPECT_EQ(events.item[of_u2 + 1], 2);
  EXPECT_THAT(events.behaviour_names, ElementsAre("buy", "view"));
  EXPECT_EQ(read_dataset_record(options_.out).events, 4);
}

TEST_F(IngestTest, SortsInPiecesAsItSortsAtOnce) {
  std::string text = "user,item,time,what\n";
  for (int i = 0; i < 5000; ++i) {
    const uint64_t draw = mix64(static_cast<uint64_t>(i));
    text += "u" + std::to_string(draw % 97) + ",i" + std::to_string((draw >> 8) % 50) + "," +
            std::to_string((draw >> 20) % 1000) + ",view\n";
  }
  const auto schema = plain_schema(file("e.csv", text), file("c.csv", kCatalogText));
  const auto whole = run(schema);
  options_.out = root_ / "pieces";
  options_.memory_events = 100;
  const auto pieces = run(schema);
  EXPECT_EQ(whole.digests, pieces.digests);
  EXPECT_EQ(whole.events + whole.duplicates_dropped, 5000);
  for (const auto& entry : std::filesystem::directory_iterator(options_.out)) {
    EXPECT_EQ(entry.path().string().find("spool"), std::string::npos) << entry.path();
  }
}

TEST_F(IngestTest, QuarantinesRejectedRowsWithTheirPlace) {
  auto schema = plain_schema(file("e.csv", "user,item,time,what\nu1,a,ten,view\n,a,1,view\nu1,,1,view\nu1,a,1,view\n"),
                             file("c.csv", kCatalogText));
  schema.max_rejected_fraction = 0.5;
  const auto record = run(schema);
  EXPECT_EQ(record.rejected.at("bad time"), 1);
  EXPECT_EQ(record.rejected.at("empty user"), 1);
  EXPECT_EQ(record.rejected.at("empty item"), 1);
  const std::string rejected = read_file(options_.out / "rejected.tsv");
  EXPECT_THAT(rejected, HasSubstr("e.csv:2\tbad time\tu1,a,ten,view\n"));

  schema.max_rejected_fraction = 0.4;
  options_.out = root_ / "other";
  const std::string message = message_of<DataError>([&] { run(schema); }, ExitCode::kBadData);
  EXPECT_THAT(message, HasSubstr("3 of 6 rows were rejected"));
  EXPECT_FALSE(std::filesystem::exists(options_.out));
  EXPECT_TRUE(std::filesystem::exists(options_.out.string() + ".rejected.tsv"));
}

TEST_F(IngestTest, ValuesMustBeFiniteNumbersAndWholeNumbersKeys) {
  auto schema = plain_schema(
      file("e.csv", "user,item,time,what,stars\n1,2,3,view,nan\n1,x,3,view,1\n1,-2,3,view,1\n1,2,3,view,4.5\n"), "");
  schema.catalog = {};
  schema.events.value = "stars";
  schema.user_key = schema.item_key = KeyKind::kWholeNumber;
  schema.max_rejected_fraction = 1.0;
  const auto record = run(schema);
  EXPECT_EQ(record.rejected.at("value is no finite number"), 1);
  EXPECT_EQ(record.rejected.at("item is no whole number"), 2);
  EXPECT_THAT(Catalog::open(options_.out).keys, ElementsAre(2));
}

TEST_F(IngestTest, ARejectedRowLeavesNoTrace) {
  auto schema = plain_schema(file("e.csv", "user,item,time,what\nu1,a b,1,view\nu2,c,oops,view\nu3,d ,x,buy\n"), "");
  schema.catalog = {};
  schema.events.items = {{"item", " "}};
  schema.max_rejected_fraction = 1.0;
  const auto record = run(schema);
  EXPECT_EQ(record.users, 1);
  EXPECT_EQ(record.items, 2);
  EXPECT_THAT(record.behaviours, ElementsAre("view"));
}

TEST_F(IngestTest, NumbersAreKeysAsTheyAreWritten) {
  auto schema = plain_schema(file("e.csv",
                                  "user,item,time,what\n1,7,3,view\n1,007,3,view\n1,9223372036854775807,3,view\n"
                                  "1,9223372036854775808,3,view\n1,99999999999999999999,3,view\n"),
                             "");
  schema.catalog = {};
  schema.user_key = schema.item_key = KeyKind::kWholeNumber;
  schema.max_rejected_fraction = 1.0;
  const auto record = run(schema);
  EXPECT_EQ(record.rejected.at("item is no whole number"), 1);
  EXPECT_EQ(record.rejected.at("item out of range"), 2);
  EXPECT_THAT(Catalog::open(options_.out).keys, ElementsAre(7, 9223372036854775807));
}

TEST_F(IngestTest, RenamesBehavioursAndRejectsOthers) {
  auto schema = plain_schema(file("e.csv", "user,item,time,what\nu,a,1,pv\nu,b,2,buy\nu,c,3,?\n"), "");
  schema.catalog = {};
  schema.events.behaviour_names = {{"pv", "view"}, {"buy", "buy"}};
  schema.max_rejected_fraction = 0.5;
  const auto record = run(schema);
  EXPECT_THAT(record.behaviours, ElementsAre("view", "buy"));
  EXPECT_EQ(record.rejected.at("unknown behaviour"), 1);
}

TEST_F(IngestTest, JoinsSlidingWindows) {
  auto schema = plain_schema(file("e.tsv", "user\titem\tnext\nu\t1 2 3\t4\nw\t9\t8\nu\t2 3 4\t5\nu\t3 4 5\t3\n"), "");
  schema.event_file.delimiter = '\t';
  schema.catalog = {};
  schema.events.items = {{"item", " "}, {"next"}};
  schema.events.time.clear();
  schema.events.time_kind = TimeKind::kOrder;
  schema.events.behaviour.clear();
  schema.events.join_overlaps = true;
  const auto record = run(schema);
  EXPECT_EQ(record.events, 8);
  EXPECT_EQ(record.duplicates_dropped, 6);
  const Catalog catalog = Catalog::open(options_.out);
  const EventLog events = EventLog::open(options_.out, catalog);
  std::string items;
  const auto user = static_cast<size_t>(events.find_user("u"));
  for (auto e = events.user_offsets[user]; e < events.user_offsets[user + 1]; ++e) {
    items += catalog.raw_keys.at(events.item[static_cast<size_t>(e)]);
  }
  EXPECT_EQ(items, "123453");
  EXPECT_TRUE(events.time_is_order);
}

TEST_F(IngestTest, AFolderThatCannotBeMadeIsAnError) {
  const auto schema = plain_schema(file("e.csv", "user,item,time,what\nu,a,1,view\n"), file("c.csv", kCatalogText));
  options_.out = root_ / "e.csv" / "dataset";  // below a file: also for root
  EXPECT_THAT(message_of<StorageError>([&] { run(schema); }, ExitCode::kCannotCreate), HasSubstr("e.csv"));
  options_.out = root_ / "e.csv";
  EXPECT_THAT(message_of<StorageError>([&] { run(schema); }, ExitCode::kCannotCreate), HasSubstr("is a file"));
}

/// A limit on the size of files stands for a disk that fills up.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : old_handler_(::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    ::signal(SIGXFSZ, old_handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit old_ = {};
  sighandler_t old_handler_;
};

TEST_F(IngestTest, ADiskThatFillsUpIsAnErrorAndLeavesNothing) {
  std::string text = "user,item,time,what\n";
  for (int i = 0; i < 20'000; ++i) text += "u" + std::to_string(i % 100) + ",a," + std::to_string(i) + ",view\n";
  const auto schema = plain_schema(file("e.csv", text), file("c.csv", kCatalogText));
  {
    const FileSizeLimit full(100'000);  // the temporary events do not fit
    EXPECT_THAT(message_of<StorageError>([&] { run(schema); }, ExitCode::kIoOrDeadline), HasSubstr("cannot write"));
  }
  EXPECT_FALSE(std::filesystem::exists(options_.out));
  for (const auto& entry : std::filesystem::directory_iterator(root_)) {
    EXPECT_THAT(entry.path().string(), ::testing::AnyOf(HasSubstr("e.csv"), HasSubstr("c.csv")));
  }
}

TEST_F(IngestTest, TwoTextsWithOneKeyAreAnErrorThatNamesBoth) {
  const auto schema = plain_schema(file("e.csv", "user,item,time,what\nu1,a,1,view\nu1,b,2,view\n"), "");
  options_.hash = [](std::string_view text, uint64_t) { return static_cast<uint64_t>(text.size()); };
  const auto plain = [&] {
    auto s = schema;
    s.catalog = {};
    return s;
  }();
  const std::string message = message_of<DataError>([&] { run(plain); }, ExitCode::kBadData);
  EXPECT_THAT(message, HasSubstr("two items have one row key: \"a\" and \"b\""));
  EXPECT_THAT(message, HasSubstr("schema.salt"));
}

TEST_F(IngestTest, SourcesThatHoldNothingSaySo) {
  const auto catalog = file("c.csv", kCatalogText);
  const auto error = [&](const SchemaOptions& schema, ExitCode code = ExitCode::kBadData) {
    return message_of<DataError>([&] { run(schema); }, code);
  };
  EXPECT_THAT(error(plain_schema("none.csv", catalog), ExitCode::kMissingInput), HasSubstr("none.csv"));
  EXPECT_THAT(error(plain_schema(file("e.csv", ""), catalog)), HasSubstr("the file is empty"));
  EXPECT_THAT(error(plain_schema(file("e.csv", "user,item,time,what\n"), catalog)), HasSubstr("a header and no rows"));
  auto filtered = plain_schema(file("e.csv", "user,item,time,what\nu,a,1,view\n"), catalog);
  filtered.filters = {{"what", Comparison::kEqual, "buy"}};
  EXPECT_THAT(error(filtered), HasSubstr("1 were filtered out"));
  for (const auto& entry : std::filesystem::directory_iterator(root_)) {
    EXPECT_EQ(entry.path().string().find(".tmp."), std::string::npos) << "left behind: " << entry.path();
  }
}

TEST_F(IngestTest, RefusesToWriteOverWhatIsThere) {
  const auto schema = plain_schema(file("e.csv", "user,item,time,what\nu,a,1,view\n"), file("c.csv", kCatalogText));
  run(schema);
  EXPECT_THAT(message_of<StorageError>([&] { run(schema); }, ExitCode::kCannotCreate), HasSubstr("--overwrite"));
  options_.overwrite = true;
  run(schema);
  options_.out = root_;  // holds our sources, but no dataset
  EXPECT_THAT(message_of<StorageError>([&] { run(schema); }, ExitCode::kCannotCreate),
              HasSubstr("choose another folder"));
}

TEST_F(IngestTest, OnlineRetailKeepsPurchasesOfKnownCustomers) {
  SchemaOptions schema = preset_schema(SourcePreset::kOnlineRetail);
  schema.event_file.paths = {file("r.csv",
                                  "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
                                  "1,A,LAMP,2,2011-06-01T10:00:00,1.5,7,UK\n1,B,CUP,1,2011-06-01T10:00:00,1,7,UK\nC2,A,"
                                  "LAMP,-2,2011-06-02T10:00:00,1.5,7,UK\n"
                                  "3,A,LAMP "
                                  "RED,1,2011-01-02T10:00:00,1.5,8,UK\n4,A,LAMP,1,2011-06-03T10:00:00,1.5,,UK\n5,A,"
                                  "LAMP,1,2011-06-04T10:00:00,0,8,UK\n"
                                  "6,A,LAMP,3,2011-06-05T10:00:00,1.5,8,UK\n")};
  const auto record = run(schema);
  EXPECT_EQ(record.events, 4);
  EXPECT_EQ(record.rows_filtered, 3);
  const Catalog catalog = Catalog::open(options_.out);
  EXPECT_EQ(catalog.titles.at(0), "LAMP");
  const EventLog events = EventLog::open(options_.out, catalog);
  const auto seven = static_cast<size_t>(events.user_offsets[static_cast<size_t>(events.find_user("7"))]);
  EXPECT_EQ(events.basket[seven], events.basket[seven + 1]);
  EXPECT_EQ(events.time[seven], 1'306'918'800'000'000);  // 09:00 UTC: summer time in London
  EXPECT_EQ(events.value[seven], 2.0F);
}

TEST_F(IngestTest, SequencesKeepTheirOrderAndAttributes) {
  SchemaOptions schema = preset_schema(SourcePreset::kSequences);
  schema.item_key = schema.user_key = KeyKind::kWholeNumber;
  schema.event_file.paths = {file("s.txt", "1 5 3 9\n2 3\n")};
  schema.attributes = file("a.json", "{\"3\": [1, 2], \"5\": [2]}");
  const auto record = run(schema);
  EXPECT_EQ(record.events, 4);
  const Catalog catalog = Catalog::open(options_.out);
  const EventLog events = EventLog::open(options_.out, catalog);
  std::vector<uint64_t> keys;
  for (int64_t e = 0; e < 3; ++e)
    keys.push_back(catalog.keys[static_cast<size_t>(events.item[static_cast<size_t>(e)])]);
  EXPECT_THAT(keys, ElementsAre(5, 3, 9));
  EXPECT_LT(events.time[0], events.time[1]);
  const auto& bag = catalog.bags[0];
  EXPECT_EQ(bag.name, "attribute");
  const auto three = static_cast<size_t>(catalog.find(3));
  EXPECT_EQ(bag.offsets[three + 1] - bag.offsets[three], 2);
}

/// The data sets beside the project; the tests on them skip where there are none.
std::filesystem::path shared_data() {
  const char* given = std::getenv("RONDO_SHARED_DATA");
  return given != nullptr ? given : std::filesystem::path(std::getenv("RONDO_SOURCE_DIR")) / ".." / "shared" / "data";
}

TEST_F(IngestTest, CountsOfRealDataAreThePublishedOnes) {
  const auto data = shared_data();
  if (!std::filesystem::exists(data / "online-retail")) GTEST_SKIP() << "no data sets in " << data;
  SchemaOptions retail = preset_schema(SourcePreset::kOnlineRetail);
  retail.event_file.paths = {data / "online-retail" / "online_retail.csv.gz"};
  auto record = run(retail);
  EXPECT_EQ(record.events + record.duplicates_dropped, 397'884);
  EXPECT_EQ(record.duplicates_dropped, 5'192);
  EXPECT_EQ(record.users, 4'338);
  EXPECT_EQ(record.items, 3'665);

  SchemaOptions beauty = preset_schema(SourcePreset::kSequences);
  beauty.item_key = beauty.user_key = KeyKind::kWholeNumber;
  beauty.event_file.paths = {data / "s3rec-beauty" / "Beauty.txt.gz"};
  beauty.attributes = data / "s3rec-beauty" / "Beauty_item2attributes.json.gz";
  options_.out = root_ / "beauty";
  record = run(beauty);
  EXPECT_EQ(record.events, 198'502);
  EXPECT_EQ(record.users, 22'363);
  EXPECT_EQ(record.items, 12'101);
  EXPECT_EQ(record.features.at("attribute"), 637);
}

TEST_F(IngestTest, MovieLensAndAmazonShapesFitTheMapping) {
  const auto data = shared_data();
  if (!std::filesystem::exists(data / "ml-latest-small")) GTEST_SKIP() << "no data sets in " << data;
  SchemaOptions films;
  films.event_file.paths = {data / "ml-latest-small" / "ratings.csv.gz"};
  films.events.user = "userId";
  films.events.items = {{"movieId"}};
  films.events.time = "timestamp";
  films.events.value = "rating";
  films.catalog_file.paths = {data / "ml-latest-small" / "movies.csv.gz"};
  films.catalog = {"movieId", "title", {}, {{"genre", {"genres", "|"}}}};
  films.item_key = films.user_key = KeyKind::kWholeNumber;
  auto record = run(films);
  EXPECT_EQ(record.events, 100'004);
  EXPECT_EQ(record.users, 671);
  EXPECT_EQ(record.items, 9'125);

  SchemaOptions parts;
  parts.event_file.paths = {data / "amazon-industrial" / "industrial.valid.tsv.gz",
                            data / "amazon-industrial" / "industrial.test.tsv.gz"};
  parts.event_file.delimiter = '\t';
  parts.events.user = "user_id";
  parts.events.items = {{"history_item_ids", " "}, {"item_id"}};
  parts.events.time_kind = TimeKind::kOrder;
  parts.events.join_overlaps = true;
  parts.catalog_file.paths = {data / "amazon-industrial" / "industrial.items.jsonl.gz"};
  parts.catalog_file.kind = FileKind::kJsonLines;
  parts.catalog = {"item_id", "title", {"title", "description"}, {{"brand", {"brand"}}}};
  parts.item_key = KeyKind::kWholeNumber;
  options_.out = root_ / "industrial";
  record = run(parts);
  EXPECT_EQ(record.users, 3'285);
  EXPECT_EQ(record.items, 3'686);
  EXPECT_EQ(record.features.at("brand"), 1'351);  // the README's 1,352 count the empty one
  EXPECT_NEAR(static_cast<double>(record.events), 22'700, 100);

  SchemaOptions games;
  games.event_file.paths = {data / "amazon-games" / "games.test.inter.gz"};
  games.event_file.delimiter = '\t';
  games.event_file.quoted = false;
  games.events.user = "user_id:token";
  games.events.items = {{"item_id_list:token_seq", " "}, {"item_id:token"}};
  games.events.time_kind = TimeKind::kOrder;
  options_.out = root_ / "games";
  record = run(games);
  EXPECT_EQ(record.users, 50'546);
  EXPECT_EQ(record.events, 440'264);
}

}  // namespace
}  // namespace rondo
