// Sources that `rondo ingest` must refuse, through the program: exit code, message, and nothing left behind.
#include <zlib.h>

#include <ostream>

#include "sharding/base/check.h"
#include "tests/support/rondo_program.h"

namespace rondo {
namespace {

using testing::ProcessResult;
using testing::RondoFolder;
using testing::Words;

constexpr char kSchema[] =
    "schema {\n"
    "  event_file { path: \"events.csv\" }\n"
    "  events { user: \"user\" item { column: \"item\" } time: \"time\" value: \"stars\" }\n"
    "  catalog { item: \"item\" title: \"item\" }\n"
    "}\n";

/// `rows` behind the header that the schema expects.
std::string table(const std::string& rows) { return "user,item,time,stars\n" + rows; }

std::string gzip(const std::string& text) {
  std::string packed(text.size() + 1024, '\0');
  z_stream stream = {};
  RONDO_CHECK_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  RONDO_CHECK_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::string many_rows() {
  std::string rows;
  for (int i = 0; i < 3000; ++i) rows += concat("u", i % 71, ",i", i * i % 53, ",", i, ",1\n");
  return table(rows);
}

std::string damaged_gzip() {
  std::string packed = gzip(many_rows());
  packed[packed.size() - 6] ^= 0x10;  // in its check sum
  return packed;
}

/// Two texts whose hash without salt is equal, found by search: 57eab2348ec88d43.
constexpr char kText[] = "cholmiialjnllfge";
constexpr char kOther[] = "dokkifjljjidbobh";

std::string collision() { return table(concat("u,", kText, ",1,1\nu,", kOther, ",2,1\n")); }

struct BadSource {
  const char* name;
  std::string bytes;
  Words words;          // of the message
  Words settings = {};  // of the job
};

void PrintTo(const BadSource& source, std::ostream* out) { *out << source.name; }

std::vector<BadSource> bad_sources() {
  const std::string one_row = "1 of 1 rows were rejected";
  const std::string place = "first at events.csv:2";
  return {
      {"EmptyFile", "", {"events.csv: the file is empty"}},
      {"HeaderOnly", table(""), {"events.csv: the file has a header and no rows"}},
      {"WrongColumns", "a,b,c\nu,i,1\n", {"events.csv:1: no column \"user\". The header has: a, b, c"}},
      {"MistypedColumn",
       "user,itme,time,stars\nu,i,1,1\n",
       {"events.csv:1: no column \"item\"; did you mean \"itme\"? The header has: user, itme, time, stars"}},
      {"ShortRow", table("u,i,1\n"), {one_row, place}},
      {"InvalidUtf8", table("u,i\xc3,1,1\n"), {one_row, place, "invalid UTF-8 (1)"}},
      {"NulByte", table(std::string("u,i\0j,1,1\n", 10)), {one_row, place, "NUL byte (1)"}},
      {"NaNValue", table("u,i,1,nan\n"), {one_row, place, "value is no finite number (1)"}},
      {"BadTime", table("u,i,noon,1\n"), {one_row, place, "bad time (1)", "out.rejected.tsv"}},
      {"IdOutOfRange",
       table("u,9223372036854775808,1,1\n"),
       {one_row, place, "item out of range (1)"},
       {"--set", "schema.item_key=WHOLE_NUMBER"}},
      {"IdThatIsNoNumber",
       table("u,-7,1,1\n"),
       {one_row, place, "item is no whole number (1)"},
       {"--set", "schema.item_key=WHOLE_NUMBER"}},
      {"TruncatedGzip", gzip(many_rows()).substr(0, 5000), {"events.csv: the gzip file is truncated"}},
      {"DamagedGzip", damaged_gzip(), {"events.csv: the gzip file is damaged"}},
      {"TwoTextsWithOneKey",
       collision(),
       {"two items have one row key", kText, kOther, "Another schema.salt than 0 solves it"}},
  };
}

class SourceTest : public ::testing::Test {
 protected:
  SourceTest() { folder_.write("job.textproto", kSchema); }

  ProcessResult ingest(const Words& settings = {}) {
    Words words{"ingest", "--job", "job.textproto", "--out", "out"};
    words.insert(words.end(), settings.begin(), settings.end());
    return folder_.rondo(words);
  }

  RondoFolder folder_;
};

class BadSourceTest : public SourceTest, public ::testing::WithParamInterface<BadSource> {};

TEST_P(BadSourceTest, IsRefusedAndLeavesNoDataset) {
  folder_.write("events.csv", GetParam().bytes);
  expect_refusal(ingest(GetParam().settings), ExitCode::kBadData, GetParam().words);
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_THAT(entry.path().filename().string(), ::testing::AnyOf("job.textproto", "events.csv", "out.rejected.tsv"));
  }
}

INSTANTIATE_TEST_SUITE_P(Sources, BadSourceTest, ::testing::ValuesIn(bad_sources()),
                         [](const auto& source) { return source.param.name; });

TEST_F(SourceTest, ThatIsMissingIsMissingInput) {
  expect_refusal(ingest(), ExitCode::kMissingInput, {"cannot read events.csv", "No such file"});
}

TEST_F(SourceTest, AnotherSaltSolvesACollision) {
  folder_.write("events.csv", collision());
  expect_done(ingest({"--set", "schema.salt=1"}));
}

TEST_F(SourceTest, ThatIsMostlyBadIsAcceptedWhenTheJobSaysSo) {
  folder_.write("events.csv", table("u,i,noon,1\nu,i,1,1\n"));
  expect_done(ingest({"--set", "schema.max_rejected_fraction=0.5"}));
  EXPECT_EQ(folder_.read("out/rejected.tsv"), "events.csv:2\tbad time\tu,i,noon,1\n");
}

}  // namespace
}  // namespace rondo
