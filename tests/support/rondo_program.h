#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "sharding/base/error.h"
#include "tests/support/process.h"
#include "tests/support/scratch_folder.h"

namespace rondo::testing {

using Words = std::vector<std::string>;

/// Runs the program as a person does, in a folder of the test's own. RONDO_PROGRAM and RONDO_MPIEXEC: rondo_test.cmake.
class RondoFolder {
 public:
  const std::filesystem::path& path() const { return scratch_.path(); }
  std::filesystem::path operator/(const std::string& name) const { return path() / name; }

  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path() / name, std::ios::binary) << bytes;
  }

  /// Empty if there is no such file.
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path() / name, std::ios::binary).rdbuf();
    return text.str();
  }

  /// `rondo arguments...`
  ProcessResult rondo(Words arguments, ProcessOptions options = {}) const {
    arguments.insert(arguments.begin(), RONDO_PROGRAM);
    options.command = std::move(arguments);
    options.folder = path();
    return run_process(std::move(options));
  }

  /// `mpirun -n ranks rondo arguments...`, to be run.
  ProcessOptions under_mpirun(int ranks, const Words& arguments) const {
    ProcessOptions options;
    options.command = {RONDO_MPIEXEC, "--allow-run-as-root", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1"};
    options.command.insert(options.command.end(), {"-n", std::to_string(ranks), RONDO_PROGRAM});
    options.command.insert(options.command.end(), arguments.begin(), arguments.end());
    options.folder = path();
    return options;
  }

 private:
  ScratchFolder scratch_;
};

inline void expect_done(const ProcessResult& result) { EXPECT_EQ(result.code, 0) << result.out << result.err; }

/// The program ended with `code`, said nothing on standard output, and one message that has all the words.
inline void expect_refusal(const ProcessResult& result, ExitCode code, const Words& words) {
  EXPECT_EQ(result.code, static_cast<int>(code)) << result.err;
  EXPECT_EQ(result.out, "");
  for (const std::string& word : words) EXPECT_THAT(result.err, ::testing::HasSubstr(word));
}

}  // namespace rondo::testing
