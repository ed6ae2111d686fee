// Jobs, checkpoints, disks and folders that the program must refuse: exit code, message, and what is left behind.
// Sources that ingest must refuse: bad_source_test.cc. Ranks that fail: ranks_test.cc.
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <memory>

#include "tests/support/synthetic_shop.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using testing::Process;
using testing::ProcessOptions;
using testing::ProcessResult;
using testing::RondoFolder;
using testing::wait_until;
using testing::Words;

/// A shop and a run of a few steps, made once. What a test adds has a name of its own.
class BadInputTest : public ::testing::Test {
 protected:
  BadInputTest() {
    static const auto made = [] {
      auto folder = std::make_unique<RondoFolder>();
      make_shop(*folder);
      expect_done(folder->rondo({"train", "--job", "job.textproto", "--out", "run"}));
      return folder;
    }();
    folder_ = made.get();
  }

  ProcessResult train(const Words& words, ProcessOptions options = {}) const {
    Words all{"train", "--job", "job.textproto"};
    all.insert(all.end(), words.begin(), words.end());
    return folder_->rondo(all, std::move(options));
  }
  ProcessResult ingest(const std::string& out, ProcessOptions options = {}) const {
    return folder_->rondo({"ingest", "--job", "job.textproto", "--job", "shop/schema.textproto", "--out", out},
                          std::move(options));
  }
  ProcessResult synth(const std::string& out, ProcessOptions options = {}) const {
    return folder_->rondo({"synth", "--job", "job.textproto", "--out", out}, std::move(options));
  }

  /// Every file below a folder of the test.
  std::map<std::string, std::string> files_in(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(*folder_ / name)) {
      const std::string path = std::filesystem::relative(entry.path(), folder_->path());
      if (entry.is_regular_file()) files[path] = folder_->read(path);
    }
    return files;
  }

  const RondoFolder* folder_;
};

using BadJobTest = BadInputTest;

TEST_F(BadJobTest, ATypoNamesItsPlaceAndTheNearestField) {
  folder_->write("typo.textproto", "name: \"x\"\ntrain {\n  glabal_batch: 8\n}\n");
  expect_refusal(folder_->rondo({"train", "--job", "job.textproto", "--job", "typo.textproto", "--out", "none"}),
                 ExitCode::kBadConfiguration,
                 {"typo.textproto:3:15: unknown field \"glabal_batch\" in Train; did you mean \"global_batch\"?"});
  EXPECT_FALSE(std::filesystem::exists(*folder_ / "none"));
}

TEST_F(BadJobTest, AValueOutOfRangeNamesItsPlaceAndTheRange) {
  folder_->write("range.textproto", "name: \"x\"\ntrain {\n  steps: 5\n  global_batch: 0\n}\n");
  expect_refusal(folder_->rondo({"train", "--job", "job.textproto", "--job", "range.textproto", "--out", "none"}),
                 ExitCode::kBadConfiguration, {"range.textproto:4:3: train.global_batch must be 1 or more, got 0"});
  EXPECT_FALSE(std::filesystem::exists(*folder_ / "none"));
}

TEST_F(BadJobTest, ASettingNamesItself) {
  expect_refusal(train({"--set", "model.temprature=1"}), ExitCode::kBadConfiguration,
                 {"--set model.temprature=1: unknown field \"temprature\" in Model; did you mean \"temperature\"?"});
  expect_refusal(train({"--set", "model.temperature=nan"}), ExitCode::kBadConfiguration,
                 {"--set model.temperature=nan: model.temperature must be above 0, got nan"});
  expect_refusal(train({"--set", "threads=100000"}), ExitCode::kBadConfiguration,
                 {"--set threads=100000: threads must be from 0 to 1024, got 100000"});
}

TEST_F(BadJobTest, WhatItNamesMustBeThere) {
  expect_refusal(folder_->rondo({"train", "--job", "none.textproto"}), ExitCode::kMissingInput,
                 {"no such file: none.textproto"});
  expect_refusal(train({"--set", "data.dataset=none", "--out", "no-dataset"}), ExitCode::kMissingInput,
                 {"no dataset in none", "rondo ingest"});
  expect_refusal(train({"--set", "text.vocabulary=none.txt", "--out", "no-vocabulary"}), ExitCode::kMissingInput,
                 {"no such file: none.txt"});
  expect_refusal(folder_->rondo({"ingest", "--job", "job.textproto", "--out", "none"}), ExitCode::kBadConfiguration,
                 {"the job has no schema"});
  expect_refusal(folder_->rondo({"evaluate", "--run", "none"}), ExitCode::kMissingInput, {"no run in none"});
  expect_refusal(folder_->rondo({"evaluate", "--run", "run", "--checkpoint", "step-000000007"}),
                 ExitCode::kMissingInput, {"no such checkpoint: run/checkpoints/step-000000007"});
}

using WrongCheckpointTest = BadInputTest;

TEST_F(WrongCheckpointTest, OfAnotherJobIsRefusedAndTheRunStaysAsItWas) {
  const auto before = files_in("run");
  expect_refusal(train({"--out", "run", "--resume", "--set", "model.dim=8"}), ExitCode::kBadConfiguration,
                 {"checkpoint run/checkpoints/step-000000006 does not fit the job",
                  "table \"item\": dim is 16 in the checkpoint, 8 in the job",
                  "parameter \"text.projection.weight\": shape is [16, 32] in the checkpoint, [8, 32] in the job"});
  auto after = files_in("run");
  EXPECT_THAT(after["run/error/rank-00000.json"], HasSubstr("does not fit the job"));
  for (const auto& [path, bytes] : before) {
    if (path.starts_with("run/log/")) continue;
    EXPECT_EQ(after[path], bytes) << path;
  }
  expect_done(folder_->rondo({"evaluate", "--run", "run"}));
}

TEST_F(WrongCheckpointTest, OfAnotherSeedIsRefused) {
  expect_refusal(train({"--out", "run", "--resume", "--set", "seed=4"}), ExitCode::kBadConfiguration,
                 {"does not fit the job", "seed is 3 in the checkpoint, 4 in the job"});
}

TEST_F(WrongCheckpointTest, IsNoPlaceToBeginAnew) {
  const auto before = files_in("run");
  expect_refusal(train({"--out", "run"}), ExitCode::kBadConfiguration,
                 {"run holds checkpoints of an earlier run", "--resume", "another --out"});
  EXPECT_TRUE(files_in("run") == before) << "a run that ended well is told of no error";
}

TEST_F(WrongCheckpointTest, ThatIsDamagedIsNotUsed) {
  std::filesystem::copy(*folder_ / "run", *folder_ / "damaged", std::filesystem::copy_options::recursive);
  const std::string rows = "damaged/checkpoints/step-000000006/rows-00000.h5";
  folder_->write(rows, folder_->read(rows).substr(0, 2000));
  expect_refusal(folder_->rondo({"evaluate", "--run", "damaged"}), ExitCode::kIoOrDeadline,
                 {"no checkpoint in damaged/checkpoints can be used", "rows-00000.h5"});
}

/// A limit on the size of files stands for a disk that fills up: it needs no rights.
ProcessOptions full_after(uint64_t bytes) {
  ProcessOptions options;
  options.largest_file_bytes = bytes;
  return options;
}

using FullDiskTest = BadInputTest;

TEST_F(FullDiskTest, EndsSynthAndLeavesNoHalfAShop) {
  expect_refusal(synth("full-shop", full_after(2'000)), ExitCode::kIoOrDeadline, {"full-shop/", "cannot write"});
  EXPECT_TRUE(files_in("full-shop").empty());
}

TEST_F(FullDiskTest, EndsIngestAndLeavesNothing) {
  expect_refusal(ingest("full-dataset", full_after(20'000)), ExitCode::kIoOrDeadline, {"cannot write"});
  for (const auto& entry : std::filesystem::directory_iterator(folder_->path())) {
    EXPECT_THAT(entry.path().filename().string(), ::testing::Not(HasSubstr("full-dataset")));
  }
}

TEST_F(FullDiskTest, EndsTrainingAndLeavesNoCheckpoint) {
  expect_refusal(train({"--out", "full-run"}, full_after(40'000)), ExitCode::kIoOrDeadline, {"full-run/checkpoints/"});
  EXPECT_FALSE(std::filesystem::exists(*folder_ / "full-run/checkpoints/LATEST"));
  EXPECT_THAT(folder_->read("full-run/error/rank-00000.json"), HasSubstr("\"code\": 74"));
  // With room again, the same command goes on.
  expect_done(train({"--out", "full-run", "--resume"}));
  EXPECT_TRUE(files_in("full-run/error").empty());
}

TEST_F(FullDiskTest, BehindStandardOutputIsAnError) {
  ProcessOptions options;
  options.output = "/dev/full";
  for (const Words& words :
       {Words{"inspect", "--path", "run", "--json"}, Words{"evaluate", "--help"}, Words{"--help"}}) {
    expect_refusal(folder_->rondo(words, options), ExitCode::kIoOrDeadline, {"rondo: cannot write to standard output"});
  }
}

/// A file system of a few pages, mounted for one test.
class SmallDisk {
 public:
  SmallDisk(std::filesystem::path folder, const char* size) : folder_(std::move(folder)) {
    std::filesystem::create_directory(folder_);
    const std::string options = std::string("size=") + size;
    mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, options.c_str()) == 0;
    if (!mounted_) reason_ = std::strerror(errno);
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool is_there() const { return mounted_; }
  const std::string& reason() const { return reason_; }

 private:
  std::filesystem::path folder_;
  bool mounted_ = false;
  std::string reason_;
};

TEST_F(FullDiskTest, SaysThatNoSpaceIsLeft) {
  const SmallDisk disk(*folder_ / "disk", "64k");
  if (!disk.is_there()) GTEST_SKIP() << "a small file system cannot be mounted: " << disk.reason();
  const std::string full = "No space left on device";
  expect_refusal(folder_->rondo({"synth", "--set", "synth.events=10000", "--out", "disk/shop"}),
                 ExitCode::kIoOrDeadline, {"disk/shop/", full});
  EXPECT_TRUE(files_in("disk/shop").empty());
  expect_refusal(ingest("disk/dataset"), ExitCode::kIoOrDeadline, {"disk/dataset", full});
  expect_refusal(train({"--out", "disk/run"}), ExitCode::kIoOrDeadline, {"disk/run/checkpoints", "are free", full});
}

using UnwritableFolderTest = BadInputTest;

TEST_F(UnwritableFolderTest, CannotBeCreatedIn) {
  std::filesystem::create_directory(*folder_ / "closed");
  std::filesystem::permissions(*folder_ / "closed",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  ProcessOptions options;
  options.permissions_count = true;
  const Words words{"closed/new", "Permission denied"};
  expect_refusal(synth("closed/new", options), ExitCode::kCannotCreate, words);
  expect_refusal(ingest("closed/new", options), ExitCode::kCannotCreate, words);
  expect_refusal(train({"--out", "closed/new"}, options), ExitCode::kCannotCreate, words);
}

TEST_F(UnwritableFolderTest, CannotBeCreatedBelowAFile) {
  const std::string below = "job.textproto/new";
  expect_refusal(synth(below), ExitCode::kCannotCreate, {"job.textproto"});
  expect_refusal(ingest(below), ExitCode::kCannotCreate, {"job.textproto"});
  expect_refusal(train({"--out", below}), ExitCode::kCannotCreate, {"job.textproto"});
}

TEST_F(UnwritableFolderTest, BelongsToTheJobThatRunsInIt) {
  Process first({.command = {RONDO_PROGRAM, "train", "--job", "job.textproto", "--set", "train.steps=1000000", "--out",
                             "shared-run"},
                 .folder = folder_->path()});
  ASSERT_TRUE(wait_until([&] { return first.has_ended() || !folder_->read("shared-run/metrics.jsonl").empty(); }));
  expect_refusal(train({"--out", "shared-run", "--resume"}), ExitCode::kCannotCreate,
                 {"shared-run", "stop that job first, or choose another folder"});
  EXPECT_TRUE(files_in("shared-run/error").empty());
  EXPECT_FALSE(first.has_ended());
}

TEST_F(UnwritableFolderTest, ADatasetIsNotReplacedUnasked) {
  expect_refusal(ingest("dataset"), ExitCode::kCannotCreate, {"dataset holds a dataset", "--overwrite"});
}

}  // namespace
}  // namespace rondo
