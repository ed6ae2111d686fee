#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "sharding/base/check.h"
#include "tests/support/rank_test.h"
#include "tests/support/scratch_folder.h"
#include "tests/support/tiny_job.h"
#include "trainer/checkpoint/checkpoint_folder.h"
#include "trainer/checkpoint/checkpoint_reader.h"
#include "trainer/checkpoint/checkpoint_writer.h"
#include "trainer/storage/file_system.h"

namespace rondo {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Snapshot;
using testing::TinyJob;

class CheckpointTest : public testing::RankTest {
 protected:
  /// Trains to each step in turn and writes a checkpoint there.
  void write_at(std::vector<int64_t> steps, CheckpointWriterOptions options = {}) {
    on_each_rank([&](Communicator& comm) {
      TinyJob job(comm);
      CheckpointWriter writer(folder_, *files_, comm, options);
      for (const int64_t step : steps) {
        job.train_to(step);
        EXPECT_EQ(writer.write(job.content()), folder_ / checkpoint_name(step));
      }
    });
  }

  std::unique_ptr<FileSystem> files_ = make_posix_file_system();
  testing::ScratchFolder scratch_;
  std::filesystem::path folder_ = scratch_.path() / "run" / "checkpoints";
};

TEST_P(CheckpointTest, GoesOnBitForBitWhereItStopped) {
  Snapshot straight, resumed;
  write_at({4});
  on_each_rank([&](Communicator& comm) {
    TinyJob job(comm);
    job.train_to(9);
    job.add_to(straight);
  });
  on_each_rank([&](Communicator& comm) {
    TinyJob job(comm);
    const auto reader = CheckpointReader::open_latest(folder_, comm);
    EXPECT_EQ(reader->manifest().step, 4);
    EXPECT_TRUE(reader->rejected().empty());
    reader->load(job.content());
    job.train_to(9);
    job.add_to(resumed);
  });
  EXPECT_EQ(straight.difference(resumed), "");
}

TEST_P(CheckpointTest, LoadsAtEveryOtherWorld) {
  Snapshot saved;
  on_each_rank([&](Communicator& comm) {
    TinyJob job(comm);
    job.train_to(5);
    CheckpointWriter(folder_, *files_, comm, {}).write(job.content());
    job.add_to(saved);
  });
  for (const int other : {1, 2, 3, 4, 7}) {
    Snapshot loaded;
    on_each_rank_of(other, [&](Communicator& comm) {
      TinyJob job(comm);
      CheckpointReader::open_latest(folder_, comm)->load(job.content());
      job.add_to(loaded);
    });
    EXPECT_EQ(saved.difference(loaded), "") << world() << " to " << other;
  }
}

TEST_P(CheckpointTest, KeepsTheNewestAndCleansUpWhatWasInterrupted) {
  std::filesystem::create_directories(folder_ / "step-000000001.tmp.77" / "x");
  std::filesystem::create_directories(folder_ / "step-000000001.trash");
  std::filesystem::create_directories(folder_ / "mine");
  write_at({1, 2, 3, 5}, {.keep = 2});
  EXPECT_THAT(list_checkpoint_names(folder_).names, ElementsAre("step-000000005", "step-000000003"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 4);  // two, LATEST, mine
  EXPECT_EQ(read_file(folder_ / "LATEST"), "step-000000005\n");
}

TEST_P(CheckpointTest, TheSameStepOnceMoreTakesThePlaceOfTheFirst) {
  write_at({4});
  write_at({4, 4});
  EXPECT_THAT(list_checkpoint_names(folder_).names, ElementsAre("step-000000004"));
  on_each_rank([&](Communicator& comm) { CheckpointReader::open(folder_ / "step-000000004", comm); });
}

TEST_P(CheckpointTest, SaysEverythingThatDoesNotFitTheJob) {
  write_at({2});
  std::vector<TableSpec> tables = TinyJob::all_kinds();
  tables[0].dim = 5;
  tables[1].optimizer.kind = RowOptimizerKind::kSgd;
  tables[2].rows = 42;
  tables[3].row_type = RowType::kFloat32;
  tables[4].name = "renamed";
  on_each_rank([&](Communicator& comm) {
    TinyJob job(comm, /*seed=*/8, tables);
    CheckpointContent& content = job.content();
    content.job_digest = "another";
    content.dense[0].value = at::empty({5, 3});
    content.dense[1].value = at::empty({3, 5});
    content.dense[2].name = "other scale";
    const auto reader = CheckpointReader::open_latest(folder_, comm);
    try {
      reader->load(content);
      ADD_FAILURE();
    } catch (const ConfigError& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kBadConfiguration);
      EXPECT_THAT(error.what(),
                  AllOf(HasSubstr("step-000000002 does not fit the job"), HasSubstr("seed is 7 in the checkpoint, 8"),
                        HasSubstr("digest of a tiny job in the checkpoint, another in the job"),
                        HasSubstr("table \"item\": dim is 6 in the checkpoint, 5 in the job"),
                        HasSubstr("table \"user\": optimizer is row_wise_adagrad in the checkpoint, sgd in the job"),
                        HasSubstr("table \"brand\": rows is 41 in the checkpoint, 42 in the job"),
                        HasSubstr("table \"price\": row type is float64 in the checkpoint, float32 in the job")));
      EXPECT_THAT(
          error.what(),
          AllOf(HasSubstr("table \"renamed\" is in the job, not in the checkpoint"),
                HasSubstr("table \"unused\" is in the checkpoint, not in the job"),
                HasSubstr("parameter \"tower.weight\": shape is [3, 5] in the checkpoint, [5, 3] in the job"),
                HasSubstr("parameter \"tower.weight.m\": type is float64 in the checkpoint, float32 in the job"),
                HasSubstr("parameter \"other scale\" is in the job"),
                HasSubstr("parameter \"scale\" is in the checkpoint"), Not(HasSubstr("mask"))));
    }
    EXPECT_EQ(content.step, 0);
    EXPECT_EQ(job.embedding().store(1).rows(), 0);
  });
}

TEST_P(CheckpointTest, WeightsAloneAreLoadedIntoWhatAsksForLess) {
  write_at({3});
  on_each_rank([&](Communicator& comm) {
    TinyJob whole(comm), part(comm, /*seed=*/9, {TinyJob::all_kinds()[2]});
    whole.train_to(3);
    part.content().dense = {part.content().dense[0]};
    CheckpointReader::open_latest(folder_, comm)->load(part.content(), LoadScope::kWeights);
    EXPECT_TRUE(part.content().dense[0].value.equal(whole.content().dense[0].value));
    const BucketRows expected = whole.embedding().store(2).export_bucket(1);
    const BucketRows loaded = part.embedding().store(0).export_bucket(1);
    EXPECT_FALSE(expected.keys.empty());
    EXPECT_EQ(loaded.keys, expected.keys);
    EXPECT_TRUE(loaded.values.equal(expected.values));
    EXPECT_THROW(CheckpointReader::open_latest(folder_, comm)->load(part.content()), ConfigError);
  });
}
RONDO_INSTANTIATE_RANK_TEST(CheckpointTest);

class OneRankCheckpointTest : public CheckpointTest {};

TEST_P(OneRankCheckpointTest, FilesAreForTheOwnerAlone) {
  write_at({1});
  for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch_.path())) {
    const auto mode = static_cast<unsigned>(entry.status().permissions());
    EXPECT_EQ(mode, entry.is_directory() ? 0700U : 0600U) << entry.path();
  }
}

TEST_P(OneRankCheckpointTest, TextsComeBackByName) {
  write_at({1});
  on_each_rank([&](Communicator& comm) {
    const auto reader = CheckpointReader::open_latest(folder_, comm);
    EXPECT_EQ(reader->text("vocabulary.txt"), std::string("a\n\0\xff b\n", 7));
    EXPECT_THROW(static_cast<void>(reader->text("none")), ConfigError);
    TinyJob job(comm);
    job.content().texts = {{"rows-00000.h5", ""}};
    CheckpointWriter writer(folder_, *files_, comm, {});
    EXPECT_THROW(writer.write(job.content()), InternalError);
  });
}

TEST_P(OneRankCheckpointTest, NothingToResumeIsNoError) {
  on_each_rank([&](Communicator& comm) {
    EXPECT_FALSE(CheckpointReader::open_latest(folder_, comm));
    EXPECT_THROW(CheckpointReader::open(folder_ / "step-000000001", comm), DataError);
  });
}

TEST_P(OneRankCheckpointTest, AFolderThatCannotBeWrittenIsKnownAtTheStart) {
  std::filesystem::create_directories(scratch_.path() / "elsewhere");
  std::filesystem::create_directory_symlink(scratch_.path() / "elsewhere", scratch_.path() / "link");
  files_->replace_file(scratch_.path() / "file", "x");
  for (const auto& folder : {scratch_.path() / "link", scratch_.path() / "file", std::filesystem::path("/proc/none"),
                             std::filesystem::path("/sys/kernel")}) {
    on_each_rank([&](Communicator& comm) {
      try {
        CheckpointWriter writer(folder, *files_, comm, {});
        ADD_FAILURE() << folder;
      } catch (const StorageError& error) {
        EXPECT_EQ(error.exit_code(), ExitCode::kCannotCreate) << error.what();
        EXPECT_THAT(error.what(), HasSubstr(folder.string()));
      }
    });
  }
  EXPECT_THROW(validate(CheckpointWriterOptions{.keep = 0}), ConfigError);
}

TEST_P(OneRankCheckpointTest, DescriptionsSayWhatIsThere) {
  write_at({1, 3});
  const auto all = describe_checkpoints(folder_, /*digests=*/true);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].name, "step-000000003");
  EXPECT_TRUE(all[0].is_latest && !all[1].is_latest);
  EXPECT_EQ(all[0].problem, "");
  EXPECT_EQ(all[0].manifest->tables[0].name, "item");
  EXPECT_GT(all[0].bytes, 1000);
}

/// More rows than are held in memory at once, in buckets of very different sizes.
TEST_P(OneRankCheckpointTest, ManyBatchesOfRowsComeBack) {
  const std::vector<TableSpec> tables{
      {.name = "wide", .dim = 1024, .buckets = 16, .optimizer = {.kind = RowOptimizerKind::kSgd}}};
  std::vector<uint64_t> keys;
  for (uint64_t key = 0; keys.size() < 6000; ++key) {
    if (bucket_of(key, 16) % 5 != 0 || key < 100) keys.push_back(key);
  }
  Snapshot saved, loaded;
  on_each_rank([&](Communicator& comm) {
    TinyJob job(comm, 7, tables);
    std::vector<int64_t> slots(keys.size());
    job.embedding().store(0).find_or_create(keys, slots);
    CheckpointWriter(folder_, *files_, comm, {}).write(job.content());
    job.add_to(saved);
  });
  on_each_rank_of(2, [&](Communicator& comm) {
    TinyJob job(comm, 7, tables);
    CheckpointReader::open_latest(folder_, comm)->load(job.content());
    job.add_to(loaded);
  });
  EXPECT_EQ(saved.difference(loaded), "");
}
INSTANTIATE_TEST_SUITE_P(Alone, OneRankCheckpointTest, ::testing::Values(1));

/// One table of every optimizer, all placed alike.
std::vector<TableSpec> placed(Placement placement, bool hot) {
  std::vector<TableSpec> tables;
  for (const auto kind : {RowOptimizerKind::kSgd, RowOptimizerKind::kRowWiseAdagrad, RowOptimizerKind::kAdam,
                          RowOptimizerKind::kAdagrad, RowOptimizerKind::kRowWiseAdam}) {
    tables.push_back({.name = concat("table", tables.size()),
                      .dim = 12,
                      .key_space = tables.size() % 2 == 0 ? KeySpace::kHashed : KeySpace::kDense,
                      .rows = 90,
                      .buckets = 16,
                      .placement = placement,
                      .optimizer = {.kind = kind}});
    if (!hot) continue;
    for (uint64_t number = 0; number < 500; number += 3) {
      const uint64_t key = tables.back().key_space == KeySpace::kDense ? number : mix64(number);
      if (tables.back().key_space == KeySpace::kHashed || key < 90) tables.back().hot_keys.push_back(key);
    }
    std::ranges::sort(tables.back().hot_keys);
  }
  return tables;
}

class PlacedCheckpointTest : public CheckpointTest {};

TEST_P(PlacedCheckpointTest, LoadsUnderEveryOtherPlacement) {
  struct Case {
    Placement placement;
    bool hot;
  };
  const std::vector<Case> cases{{Placement::kRowWise, false},
                                {Placement::kTableWise, false},
                                {Placement::kColumnWise, false},
                                {Placement::kReplicated, false},
                                {Placement::kRowWise, true}};
  for (const Case& from : cases) {
    Snapshot saved;
    on_each_rank([&](Communicator& comm) {
      TinyJob job(comm, 7, placed(from.placement, from.hot));
      job.train_to(4);
      CheckpointWriter(folder_, *files_, comm, {}).write(job.content());
      job.add_to(saved);
    });
    for (const Case& to : cases) {
      for (const int other : {2, 3}) {
        Snapshot loaded;
        on_each_rank_of(other, [&](Communicator& comm) {
          TinyJob job(comm, 7, placed(to.placement, to.hot));
          CheckpointReader::open_latest(folder_, comm)->load(job.content());
          job.add_to(loaded);
        });
        EXPECT_EQ(saved.difference(loaded), "") << to_word(from.placement) << from.hot << " at " << world() << " to "
                                                << to_word(to.placement) << to.hot << " at " << other;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Three, PlacedCheckpointTest, ::testing::Values(3));

}  // namespace
}  // namespace rondo
