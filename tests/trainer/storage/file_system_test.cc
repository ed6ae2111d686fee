#include "trainer/storage/file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

class FileSystemTest : public ::testing::Test {
 protected:
  void SetUp() override { files_->make_folder(root_ / "a" / "b"); }

  testing::ScratchFolder folder_;
  std::filesystem::path root_ = folder_.path();
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
};

TEST_F(FileSystemTest, FoldersAndFilesAreForTheOwnerAlone) {
  files_->make_folder(root_ / "a" / "b");  // once more is fine
  files_->replace_file(root_ / "a" / "x", "one");
  struct stat folder = {}, file = {};
  ASSERT_EQ(::stat((root_ / "a" / "b").c_str(), &folder), 0);
  ASSERT_EQ(::stat((root_ / "a" / "x").c_str(), &file), 0);
  EXPECT_EQ(folder.st_mode & 0777, 0700U);
  EXPECT_EQ(file.st_mode & 0777, 0600U);
}

TEST_F(FileSystemTest, ReplaceLeavesOneFileWithTheNewContent) {
  files_->replace_file(root_ / "x", "one");
  files_->replace_file(root_ / "x", "two");
  EXPECT_EQ(read_file(root_ / "x"), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root_), {}), 2);  // x and a
}

TEST_F(FileSystemTest, FailuresNameThePathAndTheReason) {
  try {
    files_->replace_file(root_ / "none" / "x", "one");
    FAIL();
  } catch (const StorageError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate);
    EXPECT_THAT(error.what(), HasSubstr("none/x"));
    EXPECT_THAT(error.what(), HasSubstr("No such file"));
  }
  files_->replace_file(root_ / "file", "");
  try {
    files_->make_folder(root_ / "file" / "below");
    FAIL();
  } catch (const StorageError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate);
  }
  EXPECT_THROW(files_->sync(root_ / "none"), StorageError);
  EXPECT_THROW(files_->rename(root_ / "none", root_ / "other"), StorageError);
}

TEST_F(FileSystemTest, RemoveTakesAbsentFilesAndWholeFolders) {
  files_->remove(root_ / "none");
  files_->replace_file(root_ / "a" / "b" / "x", "one");
  files_->remove(root_ / "a");
  EXPECT_FALSE(std::filesystem::exists(root_ / "a"));
}

TEST_F(FileSystemTest, ReadFileRefusesTheMissingAndTheTooLarge) {
  files_->replace_file(root_ / "x", "12345");
  EXPECT_EQ(read_file(root_ / "x", 5), "12345");
  EXPECT_THROW(read_file(root_ / "x", 4), StorageError);
  try {
    read_file(root_ / "none");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kMissingInput);
  }
}

TEST(DigestTest, IsSha256) {
  // FIPS 180-4, the two classic examples.
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const testing::ScratchFolder folder;
  const auto path = folder.path() / "large";
  std::ofstream(path) << std::string(3'000'000, 'a');
  EXPECT_EQ(sha256_of_file(path), sha256_hex(std::string(3'000'000, 'a')));
  EXPECT_THROW(sha256_of_file("no/such/file"), StorageError);
}

}  // namespace
}  // namespace rondo
