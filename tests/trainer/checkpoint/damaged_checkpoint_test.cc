#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "sharding/base/check.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "tests/support/tiny_job.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/storage/digest.h"
#include "trainer/storage/file_system.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using testing::Snapshot;
using testing::TinyJob;
using Path = std::filesystem::path;

/// Two checkpoints of two ranks, at steps 3 and 6; the tests damage the newer one.
class DamagedCheckpointTest : public ::testing::Test {
 protected:
  void SetUp() override {
    run_ranks(2, testing::test_options(), [&](Communicator& comm) {
      TinyJob job(comm);
      CheckpointWriter writer(folder_, *files_, comm, {});
      job.train_to(3);
      writer.write(job.content());
      job.add_to(at_three_);
      job.train_to(6);
      writer.write(job.content());
    });
    std::filesystem::copy(folder_, scratch_.path() / "sound", std::filesystem::copy_options::recursive);
  }

  void restore() {
    std::filesystem::remove_all(folder_);
    std::filesystem::copy(scratch_.path() / "sound", folder_, std::filesystem::copy_options::recursive);
  }

  /// The newer one is refused with a message that holds `telling`; a resume on `world` ranks takes the older one, bit
  /// for bit.
  void expect_fallback(const std::string& telling, int world = 2) {
    SCOPED_TRACE(telling);
    Snapshot loaded;
    run_ranks(world, testing::test_options(), [&](Communicator& comm) {
      try {
        CheckpointReader::open(newer_, comm);
        ADD_FAILURE() << "opened";
      } catch (const StorageError& error) {
        EXPECT_THAT(error.what(), HasSubstr(telling));
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), HasSubstr(telling));
      }
      TinyJob job(comm);
      const auto reader = CheckpointReader::open_latest(folder_, comm);
      EXPECT_EQ(reader->manifest().step, 3);
      EXPECT_EQ(reader->rejected().size(), 1U);
      reader->load(job.content());
      job.add_to(loaded);
    });
    EXPECT_EQ(at_three_.difference(loaded), "");
    restore();
  }

  void flip_bit(const Path& path, uint64_t bit) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(bit / 8 % std::filesystem::file_size(path));
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ (1 << (bit % 8))));
  }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(newer_)) names.push_back(entry.path().filename());
    return names;
  }

  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
  testing::ScratchFolder scratch_;
  Path folder_ = scratch_.path() / "checkpoints";
  Path newer_ = folder_ / checkpoint_name(6), older_ = folder_ / checkpoint_name(3);
  Snapshot at_three_;
};

TEST_F(DamagedCheckpointTest, CutFilesAreRefusedByName) {
  ASSERT_EQ(names().size(), 6U);  // MANIFEST, dense.h5, two of rows, two texts
  for (const std::string& name : names()) {
    const auto bytes = std::filesystem::file_size(newer_ / name);
    for (const auto size : {bytes - 1, bytes / 2, uintmax_t{0}}) {
      std::filesystem::resize_file(newer_ / name, size);
      expect_fallback(name);
    }
  }
}

TEST_F(DamagedCheckpointTest, OneFlippedBitAnywhereIsRefusedByName) {
  const CounterRandom random(1, 0, RandomPurpose::kTest);
  for (const std::string& name : names()) {
    for (uint64_t i = 0; i < 5; ++i) {
      // Half of them in the first bytes, where HDF5 keeps what it would stumble over.
      const uint64_t bit = random.below(i % 2 == 0 ? 1000 : 1'000'000, hash_bytes(name), i);
      flip_bit(newer_ / name, bit);
      expect_fallback(name, /*world=*/i == 0 ? 3 : 1);
    }
  }
}

TEST_F(DamagedCheckpointTest, MissingSwappedForeignAndExtraFilesAreRefused) {
  for (const std::string& name : names()) {
    std::filesystem::remove(newer_ / name);
    expect_fallback(name);
    std::filesystem::rename(newer_ / name, scratch_.path() / "moved");
    std::filesystem::create_symlink(scratch_.path() / "moved", newer_ / name);
    expect_fallback(name);
  }
  std::filesystem::rename(newer_ / "rows-00000.h5", newer_ / "x");
  std::filesystem::rename(newer_ / "rows-00001.h5", newer_ / "rows-00000.h5");
  std::filesystem::rename(newer_ / "x", newer_ / "rows-00001.h5");
  expect_fallback("rows-0000");
  std::filesystem::copy(older_ / "rows-00001.h5", newer_ / "rows-00001.h5",
                        std::filesystem::copy_options::overwrite_existing);
  expect_fallback("rows-00001.h5");
  std::filesystem::copy(older_ / "rows-00001.h5", newer_ / "rows-00002.h5");
  expect_fallback("rows-00002.h5 does not belong");
  std::filesystem::remove_all(newer_);
  expect_fallback("no such checkpoint");
}

TEST_F(DamagedCheckpointTest, ABadLatestStillFindsTheNewest) {
  for (const std::string latest : {"", "../../x", "step-000000099"}) {
    std::ofstream(folder_ / "LATEST", std::ios::trunc) << latest;
    run_ranks(2, testing::test_options(), [&](Communicator& comm) {
      const auto reader = CheckpointReader::open_latest(folder_, comm);
      EXPECT_EQ(reader->manifest().step, 6);
      EXPECT_EQ(reader->rejected().size(), 1U);
      EXPECT_THAT(reader->rejected()[0], HasSubstr("LATEST"));
    });
  }
}

TEST_F(DamagedCheckpointTest, NoneThatCanBeUsedIsAnErrorWithAllReasons) {
  std::filesystem::remove(older_ / "dense.h5");
  std::filesystem::resize_file(newer_ / "MANIFEST", 10);
  run_ranks(3, testing::test_options(), [&](Communicator& comm) {
    try {
      CheckpointReader::open_latest(folder_, comm);
      ADD_FAILURE();
    } catch (const StorageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("step-000000003/dense.h5 is missing"));
      EXPECT_THAT(error.what(), HasSubstr("step-000000006/MANIFEST: it is cut short"));
    }
  });
}

/// Somebody who can make digests, too.
class ForgedCheckpointTest : public DamagedCheckpointTest {
 protected:
  /// Replaces text in the manifest of the newer one and signs it again.
  void forge(const std::string& from, const std::string& to) {
    std::string text = read_file(newer_ / "MANIFEST");
    text.resize(text.rfind("# sha256"));
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    sign(text);
  }
  void sign(const std::string& body) {
    files_->replace_file(newer_ / "MANIFEST", body + "# sha256 of the lines above: " + sha256_hex(body) + "\n");
  }

  /// Lets the file of another checkpoint stand for one of the newer one.
  void forge_file(const std::string& name, const Path& other) {
    const Manifest manifest = parse_manifest(read_file(newer_ / "MANIFEST"), "");
    const ManifestFile& file = *manifest.file(name);
    forge(concat("bytes: ", file.bytes, "\n  sha256: \"", file.sha256),
          concat("bytes: ", std::filesystem::file_size(other), "\n  sha256: \"", sha256_of_file(other)));
    std::filesystem::copy(other, newer_ / name, std::filesystem::copy_options::overwrite_existing);
  }

  std::string error_of_loading() {
    std::string message;
    run_ranks(1, testing::test_options(), [&](Communicator& comm) {
      TinyJob job(comm);
      try {
        CheckpointReader::open(newer_, comm).load(job.content());
      } catch (const StorageError& error) {
        message = error.what();
      }
    });
    return message;
  }
};

TEST_F(ForgedCheckpointTest, ANewerFormatEndsTheSearch) {
  forge("format_version: 1", "format_version: 2\nnews: 7");
  run_ranks(2, testing::test_options(), [&](Communicator& comm) {
    try {
      CheckpointReader::open_latest(folder_, comm);
      ADD_FAILURE();
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("has format 2, and this program reads formats up to 1"));
    }
  });
  EXPECT_THAT(describe_checkpoint(newer_, false).problem, HasSubstr("has format 2"));
}

TEST_F(ForgedCheckpointTest, RowsThatContradictTheManifestAreRefused) {
  forge_file("rows-00000.h5", newer_ / "rows-00001.h5");
  EXPECT_THAT(error_of_loading(), HasSubstr("contradicts the manifest"));
}

TEST_F(ForgedCheckpointTest, DenseTensorsOfAnotherShapeAreRefused) {
  forge_file("dense.h5", newer_ / "rows-00001.h5");
  EXPECT_THAT(error_of_loading(), HasSubstr("dense.h5"));
}

TEST_F(ForgedCheckpointTest, KeysOutsideTheirBucketAreRefused) {
  // A boundary between buckets moved by one row, so that counts add up and keys still ascend.
  const Path path = newer_ / "rows-00001.h5", other = scratch_.path() / "forged.h5";
  {
    const Hdf5Reader reader(path);
    Hdf5Writer writer(other);
    const auto keys = reader.read<uint64_t>("item/keys");
    for (const std::string& name : reader.datasets()) {
      std::vector<std::byte> bytes(static_cast<size_t>(reader.elements(name)) * 8);
      reader.read_raw(name, reader.type(name), bytes.data(), 0, -1);
      if (name == "item/bucket_offsets") {
        auto* const offsets = reinterpret_cast<int64_t*>(bytes.data());
        for (int64_t b = 1; b < reader.elements(name) - 1; ++b) {
          if (offsets[b] > 0 && offsets[b] < offsets[b + 1] && keys[offsets[b] - 1] < keys[offsets[b]]) {
            ++offsets[b];
            break;
          }
        }
      }
      writer.write_raw(name, reader.type(name), bytes.data(), reader.elements(name), reader.shape(name));
    }
    writer.close();
  }
  forge_file("rows-00001.h5", other);
  EXPECT_THAT(error_of_loading(), HasSubstr("item/keys contradicts"));
}

}  // namespace
}  // namespace rondo
