// What the program says of itself, and of command lines that it does not understand.
#include <map>
#include <ostream>

#include "tests/support/rondo_program.h"

namespace rondo {
namespace {

using ::testing::HasSubstr;
using testing::ProcessResult;
using testing::RondoFolder;
using ::testing::StartsWith;
using testing::Words;

constexpr const char* kCommands[] = {"synth",     "ingest",  "train", "evaluate",
                                     "recommend", "inspect", "plan",  "calibrate"};

class HelpTest : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    for (const char* command : kCommands) help()[command] = RondoFolder().rondo({command, "--help"});
  }

  static std::map<std::string, ProcessResult>& help() {
    static std::map<std::string, ProcessResult> results;
    return results;
  }

  /// What the example would type into a shell.
  static std::string example() {
    const std::string& text = help()[GetParam()].out;
    const size_t place = text.find("\nExample:\n  ");
    return place == std::string::npos ? "" : text.substr(place + 12);
  }
};

TEST_P(HelpTest, EndsWithAnExampleOfTheCommand) {
  const ProcessResult& result = help()[GetParam()];
  expect_done(result);
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(result.out, StartsWith(std::string("rondo ") + GetParam() + ": "));
  EXPECT_THAT(example(), HasSubstr(std::string("rondo ") + GetParam() + " --"));
  EXPECT_EQ(example().find('\n'), example().size() - 1) << "one line, the last";
}

/// The options of the example are the command's: read up to the first thing that it needs, which is not there.
TEST_P(HelpTest, TheExampleIsUnderstood) {
  if (GetParam() == std::string("calibrate")) GTEST_SKIP() << "needs two ranks, and takes their time";
  std::istringstream line(example());
  Words words;
  for (std::string word; line >> word;) words.push_back(word == "/tmp/shop" ? "shop" : word);
  words.erase(words.begin(), std::find(words.begin(), words.end(), GetParam()));
  const ProcessResult result = RondoFolder().rondo(words);
  EXPECT_THAT(result.code, ::testing::AnyOf(0, static_cast<int>(ExitCode::kMissingInput))) << result.err;
}

INSTANTIATE_TEST_SUITE_P(Commands, HelpTest, ::testing::ValuesIn(kCommands));

TEST(ProgramTest, ListsItsCommands) {
  const RondoFolder folder;
  const ProcessResult result = folder.rondo({"--help"});
  expect_done(result);
  for (const char* command : kCommands) {
    EXPECT_THAT(result.out, HasSubstr(std::string("\n  ") + command + " "));
  }
}

struct BadUsage {
  const char* name;
  Words arguments;
  Words words;
};

void PrintTo(const BadUsage& usage, std::ostream* out) { *out << usage.name; }

class UsageTest : public ::testing::TestWithParam<BadUsage> {};

TEST_P(UsageTest, IsRefused) {
  const RondoFolder folder;
  expect_refusal(folder.rondo(GetParam().arguments), ExitCode::kUsage, GetParam().words);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

INSTANTIATE_TEST_SUITE_P(
    CommandLines, UsageTest,
    ::testing::Values(
        BadUsage{"NoCommand", {}, {"Commands:", "train"}},
        BadUsage{"UnknownCommand", {"trian"}, {"unknown command \"trian\"; did you mean \"train\"?", "Commands:"}},
        BadUsage{"UnknownOption",
                 {"train", "--rseume"},
                 {"rondo: train: unknown option --rseume; did you mean \"--resume\"?", "rondo train --help"}},
        BadUsage{"NoSuchPosition", {"train", "job.textproto"}, {"rondo: train: ", "positional", "rondo train --help"}},
        BadUsage{"OptionWithoutValue", {"train", "--out"}, {"rondo: train: ", "'--out'"}},
        BadUsage{"NoNumber", {"recommend", "--run", "r", "--user", "u", "--top", "ten"}, {"'ten'", "'--top'"}},
        BadUsage{"SynthWithoutFolder", {"synth"}, {"rondo: synth: ", "'--out' is required"}},
        BadUsage{"IngestWithoutFolder",
                 {"ingest", "--set", "schema.event_file.path=e.csv", "--set", "schema.preset=ONLINE_RETAIL"},
                 {"ingest needs --out, or data.dataset in the job"}},
        BadUsage{"ResumeOfNothing", {"train", "--resume"}, {"--resume needs --out"}},
        BadUsage{"EvaluateWithoutRun", {"evaluate"}, {"'--run' is required"}},
        BadUsage{"RecommendToNobody", {"recommend", "--run", "r"}, {"either --user KEY or --history KEY,KEY"}},
        BadUsage{"RecommendNothing",
                 {"recommend", "--run", "r", "--user", "u", "--top", "0"},
                 {"--top must be from 1 to 10000, got 0"}},
        BadUsage{"InspectNothing", {"inspect"}, {"'--path' is required"}}),
    [](const auto& usage) { return usage.param.name; });

}  // namespace
}  // namespace rondo
