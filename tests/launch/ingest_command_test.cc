#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sharding/base/error.h"
#include "tests/launch/command_fixture.h"
#include "trainer/data/dataset_description.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;

class IngestCommandTest : public testing::CommandFixture {
 protected:
  void append(const std::string& events) {
    ASSERT_EQ(run({"ingest", "--job", job(), "--append", path("dataset"), "--set", "schema.event_file.path=" + events}),
              0);
  }
};

TEST_F(IngestCommandTest, AppendsAWindow) {
  ASSERT_EQ(run({"ingest", "--job", job()}), 0);
  const std::string monday = write("monday.csv", events_of(/*first_user=*/kUsers - 1, 3));
  ASSERT_NO_FATAL_FAILURE(append(monday));
  EXPECT_THAT(output_, HasSubstr("appended events-00001.h5: 18 events from 30 rows"));  // of events and catalogue

  const DatasetRecord record = describe_dataset(path("dataset")).record;
  ASSERT_EQ(record.windows.size(), 2U);
  EXPECT_EQ(record.windows.back().sources.count(monday), 1U);
  EXPECT_EQ(record.users, kUsers + 2);
  EXPECT_EQ(record.items, kItems);
}

TEST_F(IngestCommandTest, AppendGoesWithNothingThatMakesADatasetAnew) {
  ASSERT_EQ(run({"ingest", "--job", job()}), 0);
  const std::vector<std::string> append{"ingest", "--job", job(), "--append", path("dataset")};
  for (const std::vector<std::string>& more : std::vector<std::vector<std::string>>{
           {"--out", path("elsewhere")}, {"--overwrite"}, {"--build-vocabulary", "100"}}) {
    auto words = append;
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_THAT(refusal<ConfigError>(words), HasSubstr("it goes with none of")) << more.front();
  }
  EXPECT_THAT(refusal<DataError>(append), HasSubstr("is in the dataset already"));
  EXPECT_EQ(describe_dataset(path("dataset")).record.windows.size(), 1U);
}

}  // namespace
}  // namespace rondo
