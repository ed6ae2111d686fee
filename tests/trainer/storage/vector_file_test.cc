#include "trainer/storage/vector_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "sharding/base/error.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class VectorFileTest : public ::testing::Test {
 protected:
  /// Five rows of three in two pieces.
  std::filesystem::path write(const std::string& name, bool commit = true) {
    const auto path = folder_.path() / name;
    const auto file = make_vector_file(path, 3, {{"model", "here"}}, *files_);
    file->append(std::span(values_).first(6));
    file->append(std::span(values_).subspan(6));
    if (commit) file->commit();
    return path;
  }

  testing::ScratchFolder folder_;
  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
  std::vector<float> values_{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};
};

TEST_F(VectorFileTest, WritesWhatNumpyReads) {
  const std::string bytes = read_file(write("x.npy"));
  ASSERT_EQ(bytes.size(), 128 + 15 * sizeof(float));
  EXPECT_EQ(bytes.substr(0, 10), std::string("\x93NUMPY\x01\x00\x76\x00", 10));
  EXPECT_THAT(bytes.substr(10), StartsWith("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 3), } "));
  EXPECT_EQ(bytes[127], '\n');
  EXPECT_EQ(std::memcmp(bytes.data() + 128, values_.data(), 15 * sizeof(float)), 0);
}

TEST_F(VectorFileTest, WritesHdf5) {
  const Hdf5Reader file(write("x.h5"));
  EXPECT_EQ(file.shape("vectors"), (std::vector<int64_t>{5, 3}));
  EXPECT_EQ(file.read<float>("vectors"), values_);
  EXPECT_EQ(file.attribute_text("model"), "here");
}

TEST_F(VectorFileTest, LeavesNothingThatIsNotWhole) {
  write("x.npy", /*commit=*/false);
  write("x.h5", /*commit=*/false);
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST_F(VectorFileTest, RefusesOtherNames) {
  try {
    write("x.txt");
    ADD_FAILURE() << "made";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr(".npy, .h5 or .hdf5 expected"));
  }
}

}  // namespace
}  // namespace rondo
