#include "trainer/tokenizer/token_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "sharding/base/error.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

class TokenFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(::testing::TempDir()) / "rondo_token_file_test";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    for (const std::string text : {"want running", "", "wa un,", "\xFF"}) {
      bytes_.insert(bytes_.end(), text.begin(), text.end());
      offsets_.push_back(static_cast<int64_t>(bytes_.size()));
    }
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  TokenSource source(int64_t max_tokens = 0, const std::string& digest = "d1") const {
    return {.texts = {bytes_, offsets_}, .digest = digest, .max_tokens = max_tokens};
  }
  TokenFile make(const WordPiece& tokenizer, const TokenSource& source) {
    SilentProgress progress;
    return TokenFile::open_or_make(folder_, tokenizer, source, *files_, progress);
  }
  static std::vector<std::string> entries(size_t count) {
    std::vector<std::string> entries = {"[UNK]", "[CLS]", "[SEP]", "want", "wa", "un", "runn", "##ing", ","};
    while (entries.size() < count) entries.push_back("[unused" + std::to_string(entries.size()) + "]");
    return entries;
  }
  static std::vector<int32_t> tokens(const TokenFile& file, int64_t text) {
    std::vector<int32_t> ids;
    file.append_to(text, ids);
    EXPECT_EQ(static_cast<int64_t>(ids.size()), file.tokens_of(text));
    return ids;
  }

  std::filesystem::path folder_;
  std::vector<uint8_t> bytes_;
  std::vector<int64_t> offsets_{0};
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
};

TEST_F(TokenFileTest, GivesBackWhatTheTokenizerSaid) {
  for (const size_t size : {9U, 65535U, 65536U}) {
    const WordPiece tokenizer(Vocabulary(entries(size)));
    const TokenFile file = make(tokenizer, source());
    ASSERT_EQ(file.texts(), 4);
    for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(tokens(file, i), tokenizer.encode(source().texts.at(i))) << i;
    EXPECT_EQ(file.tokenizer_hash(), tokenizer.hash());
    EXPECT_EQ(file.source_digest(), "d1");
    const Hdf5Reader raw(TokenFile::path_in(folder_, tokenizer));
    EXPECT_EQ(raw.type("tokens"), size < 65536 ? Hdf5Type::kUint16 : Hdf5Type::kInt32);
    EXPECT_EQ(raw.type("offsets"), Hdf5Type::kInt64);
  }
}

TEST_F(TokenFileTest, HoldsMoreTextsThanOneBlock) {
  const WordPiece tokenizer(Vocabulary(entries(9)));
  const std::string text = "want running";  // its beginnings, 0 to 12 bytes long
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets{0};
  for (size_t i = 0; i < 140'000; ++i) {
    bytes.insert(bytes.end(), text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i % 13));
    offsets.push_back(static_cast<int64_t>(bytes.size()));
  }
  const TokenSource many{.texts = {bytes, offsets}, .digest = "many", .max_tokens = 0};
  const TokenFile file = make(tokenizer, many);
  ASSERT_EQ(file.texts(), 140'000);
  for (int64_t i = 0; i < file.texts(); ++i) ASSERT_EQ(tokens(file, i), tokenizer.encode(many.texts.at(i))) << i;
}

TEST_F(TokenFileTest, IsMadeOnce) {
  const WordPiece tokenizer(Vocabulary(entries(9)));
  make(tokenizer, source());
  const auto path = TokenFile::path_in(folder_, tokenizer);
  const auto time = std::filesystem::last_write_time(path) - std::chrono::hours(1);
  std::filesystem::last_write_time(path, time);
  make(tokenizer, source());
  EXPECT_EQ(std::filesystem::last_write_time(path), time);
}

TEST_F(TokenFileTest, IsMadeAgainForOtherTextsOrLengths) {
  const WordPiece tokenizer(Vocabulary(entries(9)));
  make(tokenizer, source());
  const TokenFile cut = make(tokenizer, source(3));
  EXPECT_EQ(cut.max_tokens(), 3);
  EXPECT_EQ(tokens(cut, 0), (std::vector<int32_t>{1, 3, 2}));
  EXPECT_EQ(make(tokenizer, source(3, "d2")).source_digest(), "d2");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), std::filesystem::directory_iterator()), 1);
}

TEST_F(TokenFileTest, IsMadeAgainWhenItIsDamaged) {
  const WordPiece tokenizer(Vocabulary(entries(9)));
  make(tokenizer, source());
  const auto path = TokenFile::path_in(folder_, tokenizer);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2);
  EXPECT_THROW(TokenFile::open(path), StorageError);
  EXPECT_EQ(tokens(make(tokenizer, source()), 0), tokenizer.encode("want running"));
}

TEST_F(TokenFileTest, HoldsNoTexts) {
  const WordPiece tokenizer(Vocabulary(entries(9)));
  const std::vector<int64_t> none{0};
  const TokenFile file = make(tokenizer, {.texts = {{}, none}, .digest = "", .max_tokens = 0});
  EXPECT_EQ(file.texts(), 0);
  EXPECT_EQ(file.total_tokens(), 0);
}

TEST_F(TokenFileTest, RefusesOffsetsThatDoNotAscend) {
  const auto path = folder_ / "tokens-bad.h5";
  {
    Hdf5Writer file(path);
    const std::vector<uint16_t> ids{1, 2};
    const std::vector<int64_t> offsets{0, 3, 2};
    file.write<uint16_t>("tokens", ids);
    file.write<int64_t>("offsets", offsets);
    file.close();
  }
  try {
    TokenFile::open(path);
    FAIL() << "opened";
  } catch (const StorageError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("tokens-bad.h5: offsets do not ascend from 0 to the 2 tokens"));
  }
}

TEST_F(TokenFileTest, SaysWhenThereIsNone) {
  try {
    TokenFile::open(folder_ / "tokens-x.h5");
    FAIL() << "opened";
  } catch (const DataError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kMissingInput);
  }
}

/// The real one, but that no rename succeeds.
class NoRename final : public FileSystem {
 public:
  void make_folder(const std::filesystem::path& folder) override { files_->make_folder(folder); }
  void replace_file(const std::filesystem::path& path, std::string_view bytes) override {
    files_->replace_file(path, bytes);
  }
  void sync(const std::filesystem::path& path) override { files_->sync(path); }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    EXPECT_TRUE(std::filesystem::exists(from));
    throw StorageError("cannot rename to " + to.string());
  }
  void remove(const std::filesystem::path& path) override { files_->remove(path); }
  int64_t free_bytes(const std::filesystem::path& path) const override { return files_->free_bytes(path); }

 private:
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
};

TEST_F(TokenFileTest, LeavesNothingBehindWhenItCannotBeMade) {
  const WordPiece tokenizer(Vocabulary(entries(9)));
  files_ = std::make_unique<NoRename>();
  EXPECT_THROW(make(tokenizer, source()), StorageError);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

}  // namespace
}  // namespace rondo
