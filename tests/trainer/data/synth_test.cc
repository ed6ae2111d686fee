#include "trainer/data/synth.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "proto/job.pb.h"
#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/data/catalog.h"
#include "trainer/data/event_log.h"
#include "trainer/data/ingest.h"
#include "trainer/data/synth_shop.h"
#include "trainer/data/synth_walk.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using testing::ScratchFolder;
using ::testing::StartsWith;

SynthOptions options_of(int64_t users, int64_t items, int64_t events, uint64_t seed = 1) {
  SynthOptions options;
  options.users = users;
  options.items = items;
  options.events = events;
  options.seed = seed;
  return options;
}

std::vector<std::vector<std::string>> read_rows(const std::filesystem::path& path) {
  std::vector<std::vector<std::string>> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream in(line);
    for (rows.emplace_back(); std::getline(in, line, ',');) rows.back().push_back(line);
  }
  return rows;
}

/// Makes a shop in `folder` and returns the rows of its events, without the header.
std::vector<std::vector<std::string>> events_of(const SynthOptions& options, const std::filesystem::path& folder) {
  SilentProgress progress;
  auto rows = read_rows(synthesize(options, folder, progress).events);
  EXPECT_THAT(rows.at(0), ElementsAre("user_id", "item_id", "time", "behaviour", "session_id"));
  rows.erase(rows.begin());
  return rows;
}

/// What a bar would show.
class RecordedProgress final : public Progress {
 public:
  void begin(std::string_view what, int64_t total, std::string_view) override {
    what_ = what;
    total_ = total;
  }
  void advance(int64_t done) override { done_ = done; }
  void end() override { ends.emplace_back(what_, std::pair(done_, total_)); }

  std::vector<std::pair<std::string, std::pair<int64_t, int64_t>>> ends;

 private:
  std::string what_;
  int64_t total_ = 0, done_ = 0;
};

TEST(SynthTest, ShowsAllThatItMade) {
  const ScratchFolder folder;
  RecordedProgress progress;
  synthesize(options_of(60, 80, 1000), folder.path(), progress);
  EXPECT_THAT(progress.ends,
              ElementsAre(Pair("synth catalogue", Pair(80, 80)), Pair("synth events", Pair(1000, 1000))));
}

TEST(SynthTest, WritesTheSameBytesForTheSameSeed) {
  const ScratchFolder scratch;
  SilentProgress progress;
  const auto digests = [&](const char* name, uint64_t seed) {
    const auto report = synthesize(options_of(300, 500, 5'000, seed), scratch.path() / name, progress);
    return std::pair(sha256_of_file(report.events), sha256_of_file(report.catalog));
  };
  const auto first = digests("a", 7);
  EXPECT_EQ(digests("b", 7), first);
  const auto other = digests("c", 8);
  EXPECT_NE(other.first, first.first);
  EXPECT_NE(other.second, first.second);
  // Of this seed on every machine; it changes only when the shop is meant to.
  EXPECT_EQ(first.first, "3b7cb20739a1e2b4cfffed7b36d00dcab0a1f72b43e7a1ab28f84f6977f78d29");
  EXPECT_EQ(first.second, "9b7da1db78e3e78112f2b3eb73a35600a73439497fdb3502f1fe7cd99a2af977");
}

TEST(SynthTest, GivesEveryUserEventsInOrderOfTime) {
  const ScratchFolder scratch;
  const auto rows = events_of(options_of(200, 300, 4'007), scratch.path());
  ASSERT_EQ(rows.size(), 4'007);
  std::map<std::string, int64_t> of_user, last_time;
  std::map<std::string, std::string> user_of_session;
  for (const auto& row : rows) {
    ASSERT_EQ(row.size(), 5);
    const int64_t time = std::stoll(row[2]);
    EXPECT_LT(last_time[row[0]], time);
    last_time[row[0]] = time;
    ++of_user[row[0]];
    EXPECT_EQ(user_of_session.emplace(row[4], row[0]).first->second, row[0]) << "a session of two users";
    EXPECT_GE(time, 1'735'689'600);
    EXPECT_LT(time, 1'735'689'600 + 366 * 86'400);
  }
  EXPECT_EQ(of_user.size(), 200);
  int64_t least = 1'000, most = 0;
  for (const auto& [user, count] : of_user) least = std::min(least, count), most = std::max(most, count);
  EXPECT_GE(least, 5);
  EXPECT_GT(most, 60) << "three times the mean";
  EXPECT_GT(user_of_session.size(), 400) << "more than one session a user";
}

TEST(SynthTest, FollowsAViewByCartAndBuyOfTheSameItem) {
  const ScratchFolder scratch;
  const auto rows = events_of(options_of(500, 800, 20'000), scratch.path());
  std::map<std::string, int64_t> count;
  for (size_t i = 0; i < rows.size(); ++i) {
    ++count[rows[i][3]];
    if (rows[i][3] == "view") continue;
    ASSERT_GT(i, 0);
    EXPECT_EQ(rows[i - 1][3], rows[i][3] == "cart" ? "view" : "cart");
    EXPECT_EQ(rows[i - 1][0], rows[i][0]);
    EXPECT_EQ(rows[i - 1][1], rows[i][1]);
    EXPECT_EQ(rows[i - 1][4], rows[i][4]);
  }
  EXPECT_NEAR(static_cast<double>(count["cart"]) / static_cast<double>(count["view"]), 0.09, 0.02);
  EXPECT_NEAR(static_cast<double>(count["buy"]) / static_cast<double>(count["cart"]), 0.5, 0.08);
}

TEST(SynthTest, SellsByAPowerLawAndBringsItemsLate) {
  const ScratchFolder scratch;
  const auto rows = events_of(options_of(3'000, 2'000, 100'000), scratch.path());
  std::map<std::string, int64_t> views;
  std::map<std::string, int64_t> first;
  for (const auto& row : rows) {
    if (row[3] == "view") ++views[row[1]];
    const int64_t time = std::stoll(row[2]);
    first[row[1]] = std::min(first.emplace(row[1], time).first->second, time);
  }
  std::vector<int64_t> counts;
  for (const auto& [item, count] : views) counts.push_back(count);
  std::sort(counts.rbegin(), counts.rend());
  // Least squares of log count against log rank over ranks 10 to 500.
  double n = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (size_t rank = 10; rank <= 500; ++rank) {
    const double a = std::log(static_cast<double>(rank)), b = std::log(static_cast<double>(counts[rank - 1]));
    n += 1, x += a, y += b, xx += a * a, xy += a * b;
  }
  const double slope = (n * xy - x * y) / (n * xx - x * x);
  EXPECT_GT(slope, -0.9);
  EXPECT_LT(slope, -0.4);

  const int64_t last_tenth = 1'735'689'600 + 365LL * 86'400 * 9 / 10;
  const auto late =
      std::count_if(first.begin(), first.end(), [&](const auto& entry) { return entry.second >= last_tenth; });
  EXPECT_GT(late, 2'000 / 100);
  EXPECT_LT(late, 2'000 / 10);
}

TEST(SynthTest, NoItemIsSeenBeforeItsFirstDay) {
  const ScratchFolder scratch;
  const auto rows = events_of(options_of(300, 400, 8'000, 3), scratch.path());
  const SynthShop shop(3, 400);
  for (const auto& row : rows) {
    const int64_t day = (std::stoll(row[2]) - 1'735'689'600) / 86'400;
    EXPECT_GE(day, shop.first_day(std::stoll(row[1].substr(1)))) << row[1];
  }
}

TEST(SynthWalkTest, FollowsATasteThatChangesOnce) {
  const SynthShop shop(1, 3'000);
  int64_t views = 0, of_type = 0, of_style = 0, of_material = 0, changes = 0;
  for (int64_t user = 0; user < 500; ++user) {
    SynthWalk walk(shop, 1, user, 15);
    int64_t style = walk.style(), changes_of_user = 0;
    while (!walk.done()) {
      const SynthEvent event = walk.next();
      changes_of_user += walk.style() != std::exchange(style, walk.style()) ? 1 : 0;
      if (event.behaviour != SynthBehaviour::kView) continue;
      ++views;
      of_type += shop.type(event.item) == walk.type() ? 1 : 0;
      of_style += shop.style(event.item) == walk.style() ? 1 : 0;
      of_material += shop.material(event.item) == walk.material() ? 1 : 0;
    }
    EXPECT_LE(changes_of_user, 1);
    changes += changes_of_user;
  }
  const auto share = [&](int64_t count) { return static_cast<double>(count) / static_cast<double>(views); };
  // By intent 97, 74 and 13 + 84 / 10 of 100; what was looked at a moment ago is passed over, so somewhat less of
  // style.
  EXPECT_NEAR(share(of_type), 0.96, 0.02);
  EXPECT_NEAR(share(of_style), 0.68, 0.05);
  EXPECT_NEAR(share(of_material), 0.22, 0.03);
  EXPECT_NEAR(static_cast<double>(changes), 500 * 0.6 * 11 / 12, 40);
}

/// Titles of things that a user looks at one after the other share words more often than those of any two things.
TEST(SynthTest, LetsTitlesTellTheTaste) {
  const ScratchFolder scratch;
  const auto rows = events_of(options_of(300, 1'000, 10'000), scratch.path());
  const auto catalog = read_rows(scratch.path() / "catalog.csv");
  const auto shared = [&](const std::string& a, const std::string& b) {
    const auto words = [&](const std::string& item) {
      std::istringstream in(catalog[1 + static_cast<size_t>(std::stoll(item.substr(1)))][1]);
      return std::set<std::string>{std::istream_iterator<std::string>(in), {}};
    };
    const auto x = words(a), y = words(b);
    return std::count_if(x.begin(), x.end(), [&](const std::string& word) { return y.count(word) > 0; });
  };
  double together = 0, apart = 0;
  for (size_t i = 0; i + 501 < rows.size(); ++i) {
    if (rows[i][0] != rows[i + 1][0] || rows[i][1] == rows[i + 1][1]) continue;
    together += static_cast<double>(shared(rows[i][1], rows[i + 1][1]));
    apart += static_cast<double>(shared(rows[i][1], rows[i + 501][1]));
  }
  EXPECT_GT(together, 4 * apart);
}

TEST(SynthTest, WritesGzipThatHoldsTheSameText) {
  const ScratchFolder scratch;
  SynthOptions options = options_of(300, 300, 30'000);
  SilentProgress progress;
  const auto plain = synthesize(options, scratch.path() / "plain", progress);
  options.gzip = true;
  const auto packed = synthesize(options, scratch.path() / "packed", progress);
  EXPECT_EQ(packed.events.filename(), "events.csv.gz");
  EXPECT_LT(std::filesystem::file_size(packed.events), std::filesystem::file_size(plain.events) / 2);

  gzFile file = gzopen(packed.events.c_str(), "rb");
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(gzdirect(file), 0);
  std::string text(std::filesystem::file_size(plain.events) + 1, '\0');
  text.resize(static_cast<size_t>(gzread(file, text.data(), static_cast<unsigned>(text.size()))));
  EXPECT_EQ(gzclose(file), Z_OK);
  EXPECT_EQ(sha256_hex(text), sha256_of_file(plain.events));
}

TEST(SynthTest, IsReadByIngestWithoutLoss) {
  const ScratchFolder scratch;
  SilentProgress progress;
  SynthOptions options = options_of(150, 200, 3'000);
  options.gzip = true;
  const auto report = synthesize(options, scratch.path() / "a \"shop\"", progress);

  proto::Job job;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(read_file(report.schema), &job));
  const proto::Schema& said = job.schema();
  EXPECT_EQ(said.event_file().path(0), report.events);
  SchemaOptions schema;
  schema.event_file.paths = {said.event_file().path(0)};
  schema.events.user = said.events().user();
  schema.events.items = {{said.events().item(0).column(), ""}};
  schema.events.time = said.events().time();
  schema.events.behaviour = said.events().behaviour();
  schema.events.basket = said.events().basket();
  schema.catalog_file.paths = {said.catalog_file().path(0)};
  schema.catalog.item = said.catalog().item();
  schema.catalog.title = said.catalog().title();
  schema.catalog.texts = {said.catalog().text().begin(), said.catalog().text().end()};
  for (const auto& feature : said.catalog().feature()) {
    schema.catalog.features.push_back({feature.name(), {feature.column(), ""}});
  }
  IngestOptions ingest_options;
  ingest_options.out = scratch.path() / "dataset";
  ingest(schema, ingest_options, progress);

  const Catalog catalog = Catalog::open(ingest_options.out);
  const EventLog log = EventLog::open(ingest_options.out, catalog);
  EXPECT_EQ(catalog.items(), 200);
  EXPECT_EQ(catalog.bags.size(), 2);
  EXPECT_EQ(log.users(), 150);
  EXPECT_EQ(log.events(), 3'000);
  EXPECT_GT(std::set<int64_t>(log.basket.begin(), log.basket.end()).size(), 300U);
  EXPECT_THAT(std::set<std::string>(log.behaviour_names.begin(), log.behaviour_names.end()),
              ElementsAre("buy", "cart", "view"));
}

TEST(SynthTest, TakesTheSmallestAndTheOddestShops) {
  const ScratchFolder scratch;
  EXPECT_EQ(events_of(options_of(1, 10, 1'000), scratch.path() / "a").size(), 1'000);
  EXPECT_EQ(events_of(options_of(1'000, 10, 1'000), scratch.path() / "b").size(), 1'000);
  EXPECT_EQ(events_of(options_of(999, 61, 1'000), scratch.path() / "c").size(), 1'000);
  EXPECT_EQ(events_of(options_of(10, 100'000, 1'000), scratch.path() / "d").size(), 1'000);
}

TEST(SynthTest, ReplacesAShopAndLeavesNothingHalfDone) {
  const ScratchFolder scratch;
  events_of(options_of(10, 10, 1'000), scratch.path());
  EXPECT_EQ(events_of(options_of(10, 10, 1'001), scratch.path()).size(), 1'001);
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(scratch.path())) names.insert(entry.path().filename());
  EXPECT_THAT(names, ElementsAre("catalog.csv", "events.csv", "schema.textproto"));
}

TEST(SynthTest, EndsWith73WhereItCannotCreate) {
  const ScratchFolder scratch;
  SilentProgress progress;
  const auto expect_73 = [&](const std::filesystem::path& folder, const char* message) {
    try {
      synthesize(options_of(10, 10, 1'000), folder, progress);
      ADD_FAILURE() << "no error";
    } catch (const StorageError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate);
      EXPECT_THAT(error.what(), HasSubstr(message));
    }
  };
  std::ofstream(scratch.path() / "file") << "not a folder";
  expect_73(scratch.path() / "file", "cannot make folder");
  std::filesystem::create_directories(scratch.path() / "shop" / "events.csv.partial");
  expect_73(scratch.path() / "shop", "events.csv.partial: Is a directory");
  if (::geteuid() != 0) {  // root writes anywhere
    std::filesystem::create_directory(scratch.path() / "locked");
    ASSERT_EQ(::chmod((scratch.path() / "locked").c_str(), 0500), 0);
    expect_73(scratch.path() / "locked", "Permission denied");
  }
}

/// No file of this process may grow beyond a limit: what a full disk does to a writer.
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    rlimit small = before_;
    small.rlim_cur = bytes;
    old_handler_ = ::signal(SIGXFSZ, SIG_IGN);
    ::setrlimit(RLIMIT_FSIZE, &small);
  }
  ~SmallDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    ::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit before_{};
  void (*old_handler_)(int) = nullptr;
};

TEST(SynthTest, EndsWith74WhenTheDiskIsFull) {
  const ScratchFolder scratch;
  SilentProgress progress;
  for (const bool gzip : {false, true}) {
    SynthOptions options = options_of(100, 100, 100'000);
    options.gzip = gzip;
    try {
      const SmallDisk disk(200'000);
      synthesize(options, scratch.path(), progress);
      FAIL() << "no error";
    } catch (const StorageError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kIoOrDeadline);
      EXPECT_THAT(error.what(), StartsWith("cannot write " + scratch.path().string() + "/events.csv"));
      EXPECT_THAT(error.what(), HasSubstr("File too large"));
    }
    EXPECT_FALSE(std::filesystem::exists(scratch.path() / "events.csv"));
    EXPECT_FALSE(std::filesystem::exists(scratch.path() / "events.csv.partial"));
    EXPECT_FALSE(std::filesystem::exists(scratch.path() / "events.csv.gz.partial"));
  }
}

TEST(SynthOptionsTest, RefuseWhatIsOutOfRange) {
  const auto expect_refusal = [](const SynthOptions& options, const char* message) {
    try {
      validate(options);
      ADD_FAILURE() << "no error: " << message;
    } catch (const ConfigError& error) {
      EXPECT_STREQ(error.what(), message);
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
    }
  };
  validate(SynthOptions{});
  expect_refusal(options_of(10, 10, 999), "events must be from 1000 to 100000000, got 999");
  expect_refusal(options_of(10, 10, 100'000'001), "events must be from 1000 to 100000000, got 100000001");
  expect_refusal(options_of(10, 9, 1'000), "items must be from 10 to 100000000, got 9");
  expect_refusal(options_of(0, 10, 1'000), "users must be from 1 to events, 1000, got 0");
  expect_refusal(options_of(1'001, 10, 1'000), "users must be from 1 to events, 1000, got 1001");
  const ScratchFolder scratch;
  SilentProgress progress;
  EXPECT_THROW(synthesize(options_of(0, 10, 1'000), scratch.path() / "none", progress), ConfigError);
  EXPECT_FALSE(std::filesystem::exists(scratch.path() / "none"));
}

}  // namespace
}  // namespace rondo
