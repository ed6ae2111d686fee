#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/source_rules.h"

namespace rondo {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

/// A file of the text, whose build file lists it.
std::vector<SourceFile> tree(const std::vector<std::pair<std::string, std::string>>& texts) {
  std::vector<SourceFile> files;
  for (const auto& [path, text] : texts) {
    SourceFile file{path, {}};
    std::istringstream in(path.ends_with(".h") ? "#pragma once\n" + text : text);
    for (std::string line; std::getline(in, line);) file.lines.push_back(line);
    files.push_back(file);
    const size_t slash = path.find_last_of('/');
    files.push_back({path.substr(0, slash) + "/CMakeLists.txt", {"x(SOURCES " + path.substr(slash + 1) + ")"}});
  }
  return files;
}

std::vector<std::string> found(const std::vector<std::pair<std::string, std::string>>& texts) {
  return violations(tree(texts));
}

TEST(Layering, HoldsInTheWholeTree) {
  const char* root = std::getenv("RONDO_SOURCE_DIR");
  ASSERT_NE(root, nullptr) << "run by ctest, or set RONDO_SOURCE_DIR";
  const auto files = read_sources(root);
  ASSERT_GT(files.size(), 100U);
  for (const std::string& violation : violations(files)) ADD_FAILURE() << violation;
}

TEST(Layering, AllowsWhatPointsDown) {
  EXPECT_THAT(found({{"sharding/base/error.h", ""},
                     {"sharding/comm/x.h", "#include \"sharding/base/error.h\""},
                     {"trainer/data/x.h", "#include \"sharding/comm/x.h\""},
                     {"trainer/loop/x.h", "#include \"trainer/data/x.h\"\n#include <vector>"},
                     {"launch/main.cc", "#include \"trainer/loop/x.h\"\n#include \"sharding/base/error.h\""},
                     {"tests/launch/main_test.cc", "#include \"trainer/data/x.h\""}}),
              IsEmpty());
}

TEST(Layering, RefusesWhatPointsUpOrSideways) {
  EXPECT_THAT(found({{"launch/x.h", ""}, {"trainer/loop/y.h", "#include \"launch/x.h\""}}),
              ElementsAre("trainer/loop/y.h:2: must not include launch/x.h"));
  EXPECT_THAT(found({{"trainer/nn/x.h", ""}, {"sharding/base/y.h", "  #  include \"trainer/nn/x.h\""}}),
              ElementsAre("sharding/base/y.h:2: must not include trainer/nn/x.h"));
  EXPECT_THAT(found({{"trainer/nn/x.h", ""}, {"trainer/tokenizer/y.h", "#include \"trainer/nn/x.h\""}}),
              ElementsAre("trainer/tokenizer/y.h:2: must not include trainer/nn/x.h"));
  EXPECT_THAT(found({{"trainer/model/x.h", ""}, {"trainer/text/y.h", "#include \"trainer/model/x.h\""}}),
              ElementsAre("trainer/text/y.h:2: must not include trainer/model/x.h"));
  EXPECT_THAT(found({{"sharding/embedding/x.h", ""}, {"sharding/exchange/y.h", "#include \"sharding/embedding/x.h\""}}),
              ElementsAre("sharding/exchange/y.h:2: must not include sharding/embedding/x.h"));
  EXPECT_THAT(found({{"sharding/plan/x.h", ""}, {"sharding/comm/y.h", "#include \"sharding/plan/x.h\""}}),
              ElementsAre("sharding/comm/y.h:2: must not include sharding/plan/x.h"));
  EXPECT_THAT(found({{"tests/support/x.h", ""}, {"launch/y.h", "#include \"tests/support/x.h\""}}),
              ElementsAre("launch/y.h:2: must not include tests/support/x.h"));
  EXPECT_THAT(found({{"trainer/extras/x.h", ""}}),
              ElementsAre("trainer/extras/x.h:1: folder trainer/extras has no place in the design"));
}

TEST(Layering, KeepsWrappedHeadersInTheirWrappers) {
  EXPECT_THAT(found({{"sharding/handle/mpi_session.cc", "#include <mpi.h>"},
                     {"trainer/storage/hdf5_reader.cc", "#include <hdf5.h>"},
                     {"sharding/handle/nccl_handle.cc", "#include <nccl.h>"},
                     {"sharding/embedding/lookup.cu", "#include <cuda_runtime.h>"},
                     {"launch/job_text.cc", "#include \"proto/job.pb.h\""},
                     {"proto/job.proto", ""}}),
              IsEmpty());
  EXPECT_THAT(found({{"sharding/exchange/x.cc", "#include <mpi.h>"}}),
              ElementsAre("sharding/exchange/x.cc:1: mpi.h only where it is wrapped"));
  EXPECT_THAT(found({{"trainer/data/x.cc", "#include <hdf5.h>"}}),
              ElementsAre("trainer/data/x.cc:1: hdf5.h only where it is wrapped"));
  EXPECT_THAT(found({{"trainer/loop/x.cc", "#include \"proto/job.pb.h\""}, {"proto/job.proto", ""}}),
              ElementsAre("trainer/loop/x.cc:1: proto/job.pb.h only where it is wrapped"));
  EXPECT_THAT(found({{"trainer/data/x.cc", "#include <google/protobuf/text_format.h>"}}),
              ElementsAre("trainer/data/x.cc:1: google/protobuf/text_format.h only where it is wrapped"));
  EXPECT_THAT(found({{"sharding/comm/x.cc", "#include <nccl.h>\n#include <cuda_runtime.h>"}}),
              ElementsAre("sharding/comm/x.cc:1: nccl.h only where it is wrapped",
                          "sharding/comm/x.cc:2: cuda_runtime.h only where it is wrapped"));
}

TEST(Layering, KeepsTorchOutOfHeaders) {
  EXPECT_THAT(
      found({{"trainer/nn/x.h", "#include <ATen/core/Tensor.h>"}, {"trainer/nn/y.cc", "#include <ATen/ops/matmul.h>"}}),
      IsEmpty());
  EXPECT_THAT(found({{"trainer/nn/x.h", "#include <ATen/ops/matmul.h>"}}),
              ElementsAre("trainer/nn/x.h:2: ATen/ops/matmul.h in a header: ATen/core/Tensor.h at most"));
  EXPECT_THAT(found({{"tests/launch/x_test.cc", "#include <torch/torch.h>"}}),
              ElementsAre("tests/launch/x_test.cc:1: torch/torch.h is too large: include the operators that are used"));
}

TEST(Layering, WantsOwnHeaderFirst) {
  EXPECT_THAT(found({{"launch/x.h", ""}, {"launch/x.cc", "// Says why.\n#include \"launch/x.h\"\n#include <vector>"}}),
              IsEmpty());
  EXPECT_THAT(found({{"launch/x.h", ""}, {"launch/x.cc", "#include <vector>\n#include \"launch/x.h\""}}),
              ElementsAre("launch/x.cc:1: own header first"));
}

TEST(Layering, WantsWholePathsThatExist) {
  EXPECT_THAT(found({{"launch/x.h", ""}, {"launch/y.cc", "#include \"x.h\"\n#include <launch/x.h>"}}),
              ElementsAre("launch/y.cc:1: x.h: \"\" and the path from the root for ours, <> for all else",
                          "launch/y.cc:2: launch/x.h: \"\" and the path from the root for ours, <> for all else"));
  EXPECT_THAT(found({{"launch/y.cc", "#include \"launch/z.h\""}}),
              ElementsAre("launch/y.cc:1: launch/z.h does not exist"));
}

TEST(Layering, WantsEverySourceInABuildFile) {
  EXPECT_THAT(violations({{"tests/launch/CMakeLists.txt", {"rondo_test(a SOURCES a_test.cc)  # b_test.cc"}},
                          {"tests/launch/a_test.cc", {}},
                          {"tests/launch/b_test.cc", {}}}),
              ElementsAre("tests/launch/b_test.cc:1: is in no CMakeLists.txt"));
  EXPECT_THAT(violations({{"tests/rondo_test.cmake", {"x(${PROJECT_SOURCE_DIR}/tests/support/main.cc)"}},
                          {"tests/support/main.cc", {}},
                          {"tests/support/x.h", {"#pragma once"}}}),
              IsEmpty());
}

TEST(Layering, CountsLines) {
  const std::string long_text(500, '\n');
  EXPECT_THAT(found({{"launch/x.cc", long_text}, {"launch/y.cc", "// Generated by z.py.\n" + long_text}}), IsEmpty());
  EXPECT_THAT(found({{"launch/x.cc", long_text + "\n"}}), ElementsAre("launch/x.cc:501: budget of 500 lines exceeded"));
  EXPECT_THAT(found({{"launch/x.h", std::string(250, '\n')}}),
              ElementsAre("launch/x.h:251: budget of 250 lines exceeded"));
}

TEST(Layering, KeepsHabits) {
  EXPECT_THAT(violations({{"tests/support/x.h",
                           {"using namespace std;",
                            "// TO"
                            "DO: later"}}}),
              ElementsAre("tests/support/x.h:1: using namespace in a header",
                          "tests/support/x.h:2: finish it, or file it; the tree holds no notes of what is left",
                          "tests/support/x.h:1: #pragma once is missing"));
  EXPECT_THAT(found({{"launch/text_utils.cc", ""}}),
              ElementsAre("launch/text_utils.cc:1: a name that says what is inside expected, not *text_utils"));
}

TEST(Layering, WantsOneTypeOfAName) {
  const std::string type = "namespace rondo {\nstruct Range {\n";
  EXPECT_THAT(found({{"launch/x.h", type}, {"launch/y.h", "namespace rondo::plan {\nclass Range final : Base {\n"}}),
              IsEmpty());
  EXPECT_THAT(found({{"launch/x.h", type}, {"trainer/nn/y.h", type}}),
              ElementsAre("trainer/nn/y.h:3: rondo::Range is in launch/x.h already"));
}

}  // namespace
}  // namespace rondo
