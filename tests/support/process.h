#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace rondo::testing {

/// A program and what it runs under.
struct ProcessOptions {
  std::vector<std::string> command;                 ///< the first is found through PATH
  std::filesystem::path folder = ".";               ///< where it runs
  std::filesystem::path output = {};                ///< its standard output goes here; empty: it is caught
  std::chrono::seconds timeout{120};                ///< it is killed when it runs longer
  std::optional<uint64_t> largest_file_bytes = {};  ///< a write beyond fails: stands for a disk that is full
  bool permissions_count = false;                   ///< of files, for root too
};

/// How it ended.
struct ProcessResult {
  int code = -1;  ///< as a shell says it: 128 + signal if one ended it
  std::string out;
  std::string err;
};

/// A running program of a test. It ends with this object at the latest, and with the test itself; so do the processes
/// that it started. Only processes that descend from it are ever signalled, each by its own id.
class Process {
 public:
  /// Throws StorageError if it cannot be started.
  explicit Process(ProcessOptions options);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// Until it ends. One that outlives the timeout is ended and fails the test.
  ProcessResult wait();

  bool has_ended();

  pid_t pid() const { return pid_; }

  /// Of mpirun: rank -> process id, of the ranks that are there now.
  std::map<int, pid_t> ranks() const;

 private:
  void end_all();

  ProcessOptions options_;
  std::chrono::steady_clock::time_point deadline_;
  pid_t pid_ = -1;
  std::optional<int> status_;  // of waitpid
  int out_ = -1;               // files in memory
  int err_ = -1;
};

ProcessResult run_process(ProcessOptions options);

/// Looks every millisecond until `holds`; false after `limit`.
bool wait_until(const std::function<bool()>& holds, std::chrono::seconds limit = std::chrono::seconds(120));

}  // namespace rondo::testing
