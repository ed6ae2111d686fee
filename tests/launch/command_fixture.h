#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "launch/commands.h"
#include "tests/support/scratch_folder.h"

namespace rondo::testing {

/// Runs commands of `rondo` in this process, alone, on a small shop in a folder of its own: what they print, write and
/// throw.
class CommandFixture : public ::testing::Test {
 protected:
  CommandFixture() : root_(scratch_.path()) {
    write("catalog.csv", catalog_of(kItems));
    write("events.csv", events_of(/*first_user=*/0, kUsers));
    write("job.textproto", job_text());
  }

  static constexpr int kItems = 12;
  static constexpr int kUsers = 15;

  std::string write(const std::string& name, const std::string& text) {
    std::ofstream(root_ / name, std::ios::binary) << text;
    return root_ / name;
  }

  /// Runs `words`, the first of which names the command; what it threw is thrown on. Its standard output is in
  /// `output_` then.
  int run(std::vector<std::string> words) {
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    for (const Command& command : commands()) {
      if (words.front() != command.name) continue;
      ::testing::internal::CaptureStdout();
      try {
        const int code = command.run(static_cast<int>(argv.size()), argv.data());
        output_ = ::testing::internal::GetCapturedStdout();
        return code;
      } catch (...) {
        output_ = ::testing::internal::GetCapturedStdout();
        throw;
      }
    }
    ADD_FAILURE() << "no command " << words.front();
    return -1;
  }

  /// What `words` are refused with.
  template <typename ErrorType>
  std::string refusal(const std::vector<std::string>& words) {
    try {
      run(words);
    } catch (const ErrorType& error) {
      return error.what();
    }
    ADD_FAILURE() << "nothing thrown by rondo " << words.front();
    return "";
  }

  std::string path(const std::string& name) const { return root_ / name; }
  std::string job() const { return path("job.textproto"); }

  static std::string catalog_of(int items) {
    std::string text = "item,title,kind\n";
    for (int item = 0; item < items; ++item) {
      const std::string number = std::to_string(item);
      text += "i" + number + ",Thing " + number + ",k" + std::to_string(item % 3) + "\n";
    }
    return text;
  }

  /// Six events a user, each of another item.
  static std::string events_of(int first_user, int users) {
    std::string text = "user,item,time\n";
    for (int user = first_user; user < first_user + users; ++user) {
      for (int i = 0; i < 6; ++i) {
        text += "u" + std::to_string(user) + ",i" + std::to_string((user * 5 + i * 7) % kItems) + "," +
                std::to_string(1000 * user + 10 * i) + "\n";
      }
    }
    return text;
  }

  ScratchFolder scratch_;
  std::filesystem::path root_;
  std::string output_;

 private:
  std::string job_text() const {
    return "name: \"command\"\nthreads: 1\n"
           "schema {\n"
           "  event_file { path: \"" +
           path("events.csv") +
           "\" }\n"
           "  events { user: \"user\" item { column: \"item\" } time: \"time\" }\n"
           "  catalog_file { path: \"" +
           path("catalog.csv") +
           "\" }\n"
           "  catalog { item: \"item\" title: \"title\" feature { name: \"kind\" column: \"kind\" } }\n"
           "}\n"
           "data { dataset: \"" +
           path("dataset") +
           "\" }\n"
           "model { dim: 8 text_beta: 0 }\n"
           "train { steps: 6 global_batch: 16 warmup_steps: 1 log_steps: 2 }\n";
  }
};

}  // namespace rondo::testing
