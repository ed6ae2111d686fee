#include "trainer/storage/hdf5_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <numeric>

#include "sharding/base/check.h"
#include "tests/support/scratch_folder.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Hdf5FileTest : public ::testing::Test {
 protected:
  void write_small() {
    Hdf5Writer writer(path_);
    const std::vector<float> values{1, 2, 3, 4, 5, 6};
    writer.write<float>("item/values", values, {3, 2});
    writer.close();
  }

  template <typename Body>
  std::string storage_error(const Body& body, ExitCode code = ExitCode::kIoOrDeadline) {
    try {
      body();
    } catch (const StorageError& error) {
      EXPECT_EQ(error.exit_code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing thrown";
    return "";
  }

  testing::ScratchFolder folder_;
  std::filesystem::path path_ = folder_.path() / "file.h5";
};

/// Of one object: all zero if it keeps none.
std::vector<time_t> times_of(const std::filesystem::path& path, const char* name) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  H5O_info_t info = {};
  EXPECT_GE(H5Oget_info_by_name2(file, name, &info, H5O_INFO_TIME, H5P_DEFAULT), 0) << name;
  H5Fclose(file);
  return {info.atime, info.mtime, info.ctime, info.btime};
}

TEST_F(Hdf5FileTest, KeepsNoTimeOfDay) {
  const std::vector<int64_t> values{1, 2, 3};
  Hdf5Writer writer(path_);
  writer.write<int64_t>("a/b/whole", values);
  writer.declare("a/declared", Hdf5Type::kInt64, 3);
  writer.append<int64_t>("a/declared", values);
  writer.append<int64_t>("grown", values);
  writer.set_attribute("step", int64_t{7});
  writer.close();
  for (const char* name : {"/", "a", "a/b", "a/b/whole", "a/declared", "grown"}) {
    EXPECT_THAT(times_of(path_, name), ElementsAre(0, 0, 0, 0)) << name;
  }
}

TEST_F(Hdf5FileTest, ReadsBackEveryTypeShapeAndAttribute) {
  Hdf5Writer writer(path_);
  const std::vector<uint64_t> keys{1, uint64_t{1} << 63};
  const std::vector<double> wide{0.5, -1, 2, 3};
  writer.write<uint64_t>("item/keys", keys);
  writer.write<double>("item/values", wide, {2, 2});
  writer.write<int64_t>("empty", {}, {0});
  writer.set_attribute("step", int64_t{7});
  writer.set_attribute("digest", std::string("abc"));
  writer.close();

  const Hdf5Reader reader(path_);
  EXPECT_EQ(reader.read<uint64_t>("item/keys"), keys);
  EXPECT_EQ(reader.read<double>("item/values"), wide);
  EXPECT_THAT(reader.shape("item/values"), ElementsAre(2, 2));
  EXPECT_TRUE(reader.read<int64_t>("empty").empty());
  EXPECT_EQ(reader.type("item/keys"), Hdf5Type::kUint64);
  EXPECT_EQ(reader.attribute_int("step"), 7);
  EXPECT_EQ(reader.attribute_text("digest"), "abc");
  EXPECT_THAT(reader.datasets(), ElementsAre("empty", "item/keys", "item/values"));
  EXPECT_TRUE(reader.has("item/keys"));
  EXPECT_FALSE(reader.has("item/none"));
  EXPECT_FALSE(reader.has("none/at/all"));
}

TEST_F(Hdf5FileTest, AppendsAndReadsRanges) {
  Hdf5Writer writer(path_);
  std::vector<int32_t> all(200'000);
  std::iota(all.begin(), all.end(), 0);
  const std::span<const int32_t> view(all);
  writer.append<int32_t>("events/item", view.first(3));
  writer.append<int32_t>("events/item", view.subspan(3, 0));
  writer.append<int32_t>("events/item", view.subspan(3));
  writer.append<int32_t>("pairs", view.first(10), 2);
  writer.append<int32_t>("pairs", view.subspan(10, 4), 2);
  writer.close();

  const Hdf5Reader reader(path_);
  EXPECT_EQ(reader.read<int32_t>("events/item"), all);
  EXPECT_THAT(reader.shape("pairs"), ElementsAre(7, 2));
  std::vector<int32_t> rows(4);
  reader.read_rows<int32_t>("pairs", 4, 2, rows);
  EXPECT_THAT(rows, ElementsAre(8, 9, 10, 11));
}

TEST_F(Hdf5FileTest, DeclaredRowsLieInOnePiece) {
  const std::vector<double> values{1, 2, 3, 4, 5, 6};
  Hdf5Writer writer(path_);
  writer.declare("pairs", Hdf5Type::kFloat64, 3, 2);
  writer.declare("none", Hdf5Type::kInt64, 0);
  writer.append<double>("pairs", std::span(values).first(2), 2);
  writer.append<double>("pairs", std::span(values).subspan(2), 2);
  EXPECT_THROW(writer.append<double>("pairs", values, 2), StorageError);  // more than declared
  writer.close();
  const Hdf5Reader reader(path_);
  EXPECT_EQ(reader.read<double>("pairs"), values);
  EXPECT_THAT(reader.shape("pairs"), ElementsAre(3, 2));
  EXPECT_THAT(reader.shape("none"), ElementsAre(0));
  EXPECT_LT(std::filesystem::file_size(path_), 10'000U);

  std::filesystem::remove(path_);
  Hdf5Writer unfinished(path_);
  unfinished.declare("pairs", Hdf5Type::kFloat64, 3, 2);
  EXPECT_THROW(unfinished.close(), InternalError);
}

TEST_F(Hdf5FileTest, IsForItsOwnerAlone) {
  write_small();
  const auto allowed = std::filesystem::status(path_).permissions();
  EXPECT_EQ(allowed, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST_F(Hdf5FileTest, ReplacesNothing) {
  write_small();
  EXPECT_THAT(storage_error([&] { Hdf5Writer again(path_); }, ExitCode::kCannotCreate), HasSubstr(path_.string()));
}

TEST_F(Hdf5FileTest, AWrongTypeOrNameIsAnError) {
  write_small();
  const Hdf5Reader reader(path_);
  EXPECT_THAT(storage_error([&] { reader.read<double>("item/values"); }), HasSubstr("another type"));
  EXPECT_THAT(storage_error([&] { reader.read<float>("item/value"); }), HasSubstr("find item/value"));
}

TEST_F(Hdf5FileTest, TruncatedFilesAndStrangersAreRefused) {
  write_small();
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 1);
  EXPECT_THAT(storage_error([&] { Hdf5Reader reader(path_); }), HasSubstr("cannot open the file"));
  std::ofstream(path_, std::ios::trunc) << "not HDF5";
  EXPECT_THAT(storage_error([&] { Hdf5Reader reader(path_); }), HasSubstr("cannot open the file"));
  EXPECT_THROW(Hdf5Reader("no/such.h5"), DataError);
}

TEST_F(Hdf5FileTest, AFullDiskIsReportedByTheWriteOrTheClose) {
  // A limit on the file size stands for the full disk: the system refuses the write in the same way.
  struct rlimit before = {};
  getrlimit(RLIMIT_FSIZE, &before);
  const auto ignored = std::signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::vector<double> large(1 << 20, 1.0);
  const std::string message = storage_error([&] {
    Hdf5Writer writer(path_);
    writer.write<double>("large", large);
    writer.close();
  });
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, ignored);
  EXPECT_THAT(message, HasSubstr(path_.string()));
}

/// A file made with the library itself: what a hostile one may hold.
class HostileHdf5Test : public Hdf5FileTest {
 protected:
  void SetUp() override {
    write_small();
    file_ = H5Fopen(path_.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
    ASSERT_GE(file_, 0);
  }

  void make_dataset(const char* name, hsize_t elements, hid_t creation) {
    const hid_t space = H5Screate_simple(1, &elements, nullptr);
    const hid_t dataset = H5Dcreate2(file_, name, H5T_NATIVE_FLOAT, space, H5P_DEFAULT, creation, H5P_DEFAULT);
    ASSERT_GE(dataset, 0);
    H5Dclose(dataset);
    H5Sclose(space);
  }

  std::string error_of_reading(const std::string& name) {
    H5Fclose(file_);
    return storage_error([&] { Hdf5Reader(path_).read<float>(name); });
  }

  hid_t file_ = -1;
};

TEST_F(HostileHdf5Test, ADatasetLargerThanItsFileIsRefusedWithoutAllocating) {
  make_dataset("huge", hsize_t{1} << 45, H5P_DEFAULT);
  EXPECT_THAT(error_of_reading("huge"), HasSubstr("declares more than"));
}

TEST_F(HostileHdf5Test, ExternalStorageIsRefused) {
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(creation, "/etc/hostname", 0, 4);
  make_dataset("outside", 1, creation);
  H5Pclose(creation);
  EXPECT_THAT(error_of_reading("outside"), HasSubstr("external storage"));
}

TEST_F(HostileHdf5Test, LinksAreRefused) {
  H5Lcreate_soft("/item/values", file_, "soft", H5P_DEFAULT, H5P_DEFAULT);
  H5Lcreate_external("other.h5", "/x", file_, "external", H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_THAT(error_of_reading("soft"), HasSubstr("a link to elsewhere"));
  EXPECT_THAT(storage_error([&] { Hdf5Reader(path_).read<float>("external"); }), HasSubstr("a link to elsewhere"));
}

TEST_F(HostileHdf5Test, FiltersAreRefused) {
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t chunk = 4;
  H5Pset_chunk(creation, 1, &chunk);
  H5Pset_fletcher32(creation);
  make_dataset("filtered", 8, creation);
  H5Pclose(creation);
  EXPECT_THAT(error_of_reading("filtered"), HasSubstr("a filter"));
}

/// What the library makes of the two types that it has no name for.
TEST(Hdf5File, SixteenBitFloatsReadAsTheirNumbers) {
  const testing::ScratchFolder scratch;
  const auto path = scratch.path() / "halves.h5";
  const std::vector<uint16_t> float16{0x3c00, 0xc100, 0x0001, 0x7bff, 0x7c00}, bfloat16{0x3f80, 0xc020, 0x0001, 0x7f7f};
  {
    Hdf5Writer writer(path);
    writer.write_raw("float16", Hdf5Type::kFloat16, float16.data(), 5, {5});
    writer.write_raw("bfloat16", Hdf5Type::kBFloat16, bfloat16.data(), 4, {4});
    writer.close();
  }
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const auto as_floats = [&](const char* name, size_t count) {
    std::vector<float> values(count);
    const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
    H5Dclose(dataset);
    return values;
  };
  EXPECT_THAT(as_floats("float16", 5), ElementsAre(1.0F, -2.5F, 0x1p-24F, 65504.0F, INFINITY));
  EXPECT_THAT(as_floats("bfloat16", 4), ElementsAre(1.0F, -2.5F, 0x1p-133F, 0x1.fep127F));
  H5Fclose(file);
  const Hdf5Reader reader(path);
  EXPECT_EQ(reader.type("float16"), Hdf5Type::kFloat16);
  EXPECT_EQ(reader.type("bfloat16"), Hdf5Type::kBFloat16);
  EXPECT_EQ(reader.elements("bfloat16"), 4);
  std::vector<uint16_t> back(4);
  reader.read_raw("bfloat16", Hdf5Type::kBFloat16, back.data(), 0, 4);
  EXPECT_EQ(back, bfloat16);
}

TEST_F(HostileHdf5Test, VirtualDatasetsAreRefused) {
  const hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  const hsize_t extent = 6;
  const hid_t space = H5Screate_simple(1, &extent, nullptr);
  ASSERT_GE(H5Pset_virtual(creation, space, "other.h5", "/x", space), 0);
  H5Sclose(space);
  make_dataset("virtual", extent, creation);
  H5Pclose(creation);
  EXPECT_THAT(error_of_reading("virtual"), HasSubstr("virtual layout"));
}

TEST_F(HostileHdf5Test, ACircleOfGroupsEnds) {
  ASSERT_GE(H5Lcreate_hard(file_, "/", file_, "/item/again", H5P_DEFAULT, H5P_DEFAULT), 0);
  H5Fclose(file_);
  const Hdf5Reader reader(path_);
  EXPECT_THAT(reader.datasets(), ElementsAre("item/values"));
  EXPECT_FALSE(reader.has("item/again/none"));
}

TEST_F(HostileHdf5Test, EachOfThousandsOfDatasetsIsHeldAgainstTheFile) {
  for (int i = 0; i < 2000; ++i) make_dataset(concat("d", i).c_str(), hsize_t{1} << 30, H5P_DEFAULT);
  H5Fclose(file_);
  const Hdf5Reader reader(path_);
  for (const std::string& name : reader.datasets()) {
    if (name == "item/values") continue;
    EXPECT_THROW(reader.elements(name), StorageError);
  }
}

}  // namespace
}  // namespace rondo
