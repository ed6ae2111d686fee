#include "trainer/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/base/check.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

Manifest small_manifest() {
  const std::string digest = sha256_hex("x");
  Manifest manifest{.step = 1200,
                    .world = 2,
                    .seed = UINT64_MAX,
                    .job_digest = "abc",
                    .cursor = {3, 77},
                    .files = {{"rows-00000.h5", 10, digest}, {"rows-00001.h5", 0, digest}, {"dense.h5", 7, digest}},
                    .tables = {manifest_table({.name = "item \"x\"\n", .dim = 8, .buckets = 4})},
                    .tensors = {{"tower.weight", "float32", {3, 0}}, {"scale", "float64", {}}}};
  manifest.tables[0].parts = {{"rows-00000.h5", {0, 1}, {0, 8}, 5}, {"rows-00001.h5", {1, 4}, {0, 8}, 6}};
  return manifest;
}

/// The text of a body with its digest: what a forger who knows the format can write.
std::string with_digest(const std::string& body) {
  return body + "# sha256 of the lines above: " + sha256_hex(body) + "\n";
}

std::string body_of(const std::string& text) { return text.substr(0, text.rfind("# sha256")); }

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ManifestTest, ReadsBackWhatItWrote) {
  const Manifest written = small_manifest(), read = parse_manifest(to_text(written), "MANIFEST");
  EXPECT_EQ(to_text(read), to_text(written));
  EXPECT_EQ(read.seed, UINT64_MAX);
  EXPECT_EQ(read.cursor.next, 77);
  EXPECT_EQ(read.tables[0].name, "item \"x\"\n");
  EXPECT_EQ(read.tables[0].optimizer, "row_wise_adagrad");
  EXPECT_EQ(read.tables[0].placement, "row_wise");
  EXPECT_EQ(read.tables[0].parts[1].buckets.last, 4);
  EXPECT_EQ(read.tensors[0].shape, (std::vector<int64_t>{3, 0}));
  EXPECT_EQ(read.bytes(), 17);
  EXPECT_EQ(read.file("none"), nullptr);
}

TEST(ManifestTest, EveryFlippedBitAndEveryCutIsNoticed) {
  const std::string text = to_text(small_manifest());
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = static_cast<char>(changed[i] ^ (1 << (i % 8)));
    EXPECT_THROW(parse_manifest(changed, "MANIFEST"), StorageError) << "byte " << i;
    EXPECT_THROW(parse_manifest(text.substr(0, i), "MANIFEST"), StorageError) << "cut at " << i;
  }
  EXPECT_THROW(parse_manifest(text + "\n", "MANIFEST"), StorageError);
}

TEST(ManifestTest, ANewerFormatIsRefusedByItsNumber) {
  const std::string body = body_of(to_text(small_manifest()));
  try {
    parse_manifest(with_digest(replaced(body, "format_version: 1", "format_version: 2\ncolumns { a: 1 }")), "MANIFEST");
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
    EXPECT_THAT(error.what(), HasSubstr("MANIFEST has format 2, and this program reads formats up to 1"));
  }
  for (const char* version : {"format_version: 0", "format_version: -1", ""}) {
    EXPECT_THROW(parse_manifest(with_digest(replaced(body, "format_version: 1", version)), "MANIFEST"), StorageError);
  }
}

TEST(ManifestTest, ForgedOnesAreRefusedWithTheReason) {
  const std::string body = body_of(to_text(small_manifest()));
  const std::string digest = sha256_hex("x");
  struct Case {
    std::string from, to, message;
  };
  const std::vector<Case> cases{
      {"step: 1200", "step: 1200\nsurprise: 1", "surprise"},
      {"step: 1200", "step: \"x\"", "2:7"},
      {"step: 1200", "step: -1", "step is -1"},
      {"world: 2", "world: 0", "world is 0"},
      {"parent: \"\"", "parent: \"step-000000001\"", "adds to"},
      {"name: \"rows-00001.h5\"", "name: \"../rows-00001.h5\"", "no name for a file"},
      {"name: \"rows-00001.h5\"", "name: \"MANIFEST\"", "no name for a file"},
      {"name: \"rows-00001.h5\"", "name: \"rows-00000.h5\"", "stands twice"},
      {"bytes: 10", "bytes: -10", "size and digest"},
      {digest, digest.substr(1), "size and digest"},
      {"first_bucket: 1", "first_bucket: 2", "do not follow bucket 1"},
      {"first_bucket: 1", "first_bucket: 0", "do not follow bucket 1"},
      {"last_bucket: 4", "last_bucket: 3", "from 3 on are missing"},
      {"last_bucket: 4", "last_bucket: 4000000000000", "buckets from 4000000000000 on"},
      {"rows: 6", "rows: -6", "-6 rows"},
      {"buckets: 4", "buckets: 3", "buckets is 3"},
      {"dim: 8", "dim: 0", "dim is 0"},
      {"buckets: 4", "buckets: 8388608", "buckets is 8388608"},
      {"last_column: 8", "last_column: 4", "buckets [1, 4) do not follow bucket 0"},
      {"last_column: 8", "last_column: 9", "columns [0, 9) do not follow column 0"},
      {"file: \"rows-00001.h5\"", "file: \"rows-00002.h5\"", "not in the list"},
      {"shape: 3", "shape: -3", "impossible shape"},
      {"shape: 3\n  shape: 0", "shape: 4294967296\n  shape: 4294967296", "impossible shape"},
      {"name: \"scale\"", "name: \"tower.weight\"", "stands twice"},
      {"name: \"dense.h5\"", "name: \"dense.h6\"", "no dense.h5"},
  };
  for (const Case& one : cases) {
    try {
      parse_manifest(with_digest(replaced(body, one.from, one.to)), "a/MANIFEST");
      ADD_FAILURE() << one.to;
    } catch (const StorageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("a/MANIFEST: "));
      EXPECT_THAT(error.what(), HasSubstr(one.message)) << one.to;
    }
  }
}

TEST(ManifestTest, DeepNestingAndRubbishEnd) {
  std::string deep = "table { ";
  for (int i = 0; i < 100'000; ++i) deep += "x { ";
  EXPECT_THROW(parse_manifest(with_digest(deep), "MANIFEST"), StorageError);
  EXPECT_THROW(parse_manifest(with_digest(std::string(1000, '\0')), "MANIFEST"), StorageError);
  EXPECT_THROW(parse_manifest(with_digest(""), "MANIFEST"), StorageError);
}

TEST(ManifestTest, WhatWouldNotBeReadIsNotWritten) {
  Manifest manifest = small_manifest();
  manifest.tables[0].parts.pop_back();
  EXPECT_THROW(to_text(manifest), InternalError);
}

TEST(ManifestTest, PlainNamesLeadNowhereElse) {
  for (const char* name : {"job.textproto", "rows-00000.h5", "a", "0_-."}) EXPECT_TRUE(is_plain_name(name)) << name;
  for (const std::string name : {"", ".", "..", ".hidden", "-x", "a/b", "/a", "a\\b", "a b", "a\n", "\xff"}) {
    EXPECT_FALSE(is_plain_name(name)) << name;
  }
  EXPECT_FALSE(is_plain_name(std::string(65, 'a')));
}

}  // namespace
}  // namespace rondo
