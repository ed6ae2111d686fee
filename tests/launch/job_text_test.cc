#include "launch/job_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "proto/job.pb.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class JobTextTest : public ::testing::Test {
 protected:
  std::filesystem::path file(const std::string& name, const std::string& text) {
    const auto path = std::filesystem::path(::testing::TempDir()) / name;
    std::ofstream(path) << text;
    return path;
  }

  /// The message and code of the ConfigError that `body` throws.
  template <typename Body>
  std::string message_of(const Body& body, ExitCode code = ExitCode::kBadConfiguration) {
    try {
      body();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing thrown";
    return "";
  }

  std::string error_in(const std::string& text) {
    const auto path = file("bad.textproto", text);
    JobText job;
    std::string message = message_of([&] { job.add_file(path); });
    EXPECT_THAT(message, StartsWith(path.string() + ":"));
    return message.substr(std::min(message.size(), path.string().size() + 1));
  }
};

TEST_F(JobTextTest, LaterFilesReplaceTheFieldsThatTheyName) {
  JobText job;
  job.add_file(file("a.textproto", "name: \"a\" train { steps: 100 global_batch: 64 } evaluation { k: 5 k: 10 }"));
  job.add_file(file("b.textproto", "train { steps: 7 } evaluation { k: 20 }"));
  EXPECT_EQ(job.job().name(), "a");
  EXPECT_EQ(job.job().train().steps(), 7);
  EXPECT_EQ(job.job().train().global_batch(), 64);
  ASSERT_EQ(job.job().evaluation().k_size(), 1);  // a repeated field is replaced whole
  EXPECT_EQ(job.job().evaluation().k(0), 20);
}

TEST_F(JobTextTest, AssignmentsComeLastAndStringsMayGoUnquoted) {
  JobText job;
  job.assign("train.steps=200");
  job.assign("data.dataset=/data/a \"b\"");
  job.assign("name=\"quoted\"");
  job.assign("tables.item.optimizer.kind=ADAM");
  EXPECT_EQ(job.job().train().steps(), 200);
  EXPECT_EQ(job.job().data().dataset(), "/data/a \"b\"");
  EXPECT_EQ(job.job().name(), "quoted");
  EXPECT_EQ(job.job().tables().item().optimizer().kind(), proto::ADAM);
}

TEST_F(JobTextTest, UnknownFieldsNameTheNearest) {
  EXPECT_EQ(error_in("name: \"x\"\ntrian {\n steps: 1 }"),
            "2:7: unknown field \"trian\" in Job; did you mean \"train\"?");
  EXPECT_THAT(error_in("train {\n  step: 1\n}"),
              StartsWith("2:7: unknown field \"step\" in Train; did you mean \"steps\"?"));
}

TEST_F(JobTextTest, WrongTypesAndValuesSayWhatWasExpected) {
  EXPECT_THAT(error_in("train { steps: many }"), HasSubstr("1:16: Expected integer, got: many"));
  EXPECT_THAT(error_in("split { kind: LEAVE_ONE }"), HasSubstr("Split takes LEAVE_ONE_OUT LAST_BASKET_OUT"));
  EXPECT_THAT(error_in("train { steps: 1 steps: 2 }"), HasSubstr("multiple times"));
  EXPECT_THAT(error_in("train { steps: 99999999999999999999 }"), HasSubstr("out of range"));
  EXPECT_THAT(error_in("train {"), StartsWith("1:8: "));
}

TEST_F(JobTextTest, BadAssignmentsNameThemselves) {
  JobText job;
  EXPECT_THAT(message_of([&] { job.assign("train.step=1"); }),
              StartsWith("--set train.step=1: unknown field \"step\" in Train; did you mean \"steps\"?"));
  EXPECT_THAT(message_of([&] { job.assign("train.steps"); }), HasSubstr("expected path.to.field=value"));
  EXPECT_THAT(message_of([&] { job.assign("train.steps.x=1"); }), HasSubstr("\"steps\" has no fields of its own"));
  EXPECT_THAT(message_of([&] { job.assign("train.steps=many"); }),
              StartsWith("--set train.steps=many: Expected integer"));
}

TEST_F(JobTextTest, AMissingFileIsMissingInput) {
  JobText job;
  EXPECT_THAT(message_of([&] { job.add_file("no/such.textproto"); }, ExitCode::kMissingInput),
              HasSubstr("no/such.textproto"));
}

TEST_F(JobTextTest, HugeAndDeeplyNestedFilesAreRefused) {
  JobText job;
  const auto huge = file("huge.textproto", std::string(3 << 20, '#'));
  EXPECT_THAT(message_of([&] { job.add_file(huge); }), HasSubstr("expected a job of at most 1048576"));
  std::string deep;
  for (int i = 0; i < 10'000; ++i) deep += "train { optimizer {";
  EXPECT_FALSE(error_in(deep).empty());
}

TEST_F(JobTextTest, ValidationErrorsGetThePlaceOfTheField) {
  const auto path = file("range.textproto", "train {\n  global_batch: 0\n}");
  JobText job;
  job.add_file(path);
  const auto fail = [] { throw ConfigError("global_batch must be 1 or more, got 0"); };
  EXPECT_EQ(message_of([&] { job.located("train", fail); }),
            path.string() + ":2:3: train.global_batch must be 1 or more, got 0");
  job.assign("train.global_batch=0");
  EXPECT_EQ(message_of([&] { job.located("train", fail); }),
            "--set train.global_batch=0: train.global_batch must be 1 or more, got 0");
}

TEST_F(JobTextTest, WrittenOutItHasAllDefaultsAndIsTheSameJob) {
  JobText job;
  job.assign("train.steps=200");
  const std::string text = job.written_out();
  EXPECT_THAT(text, HasSubstr("steps: 200"));
  EXPECT_THAT(text, HasSubstr("temperature: 0.1"));
  EXPECT_THAT(text, HasSubstr("kind: ROW_WISE_ADAGRAD"));
  JobText again;
  again.add_file(file("again.textproto", text));
  EXPECT_EQ(again.written_out(), text);
}

}  // namespace
}  // namespace rondo
