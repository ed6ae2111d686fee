#pragma once

#include <stdexcept>
#include <string>

namespace rondo {

/// What a process ends with; the same under mpirun and Slurm. The list with its meaning: docs/platform.md.
enum class ExitCode : int {
  kDone = 0,
  kUsage = 2,
  kBadData = 65,
  kMissingInput = 66,
  kInternal = 70,
  kCannotCreate = 73,
  kIoOrDeadline = 74,
  kStopped = 75,
  kBadConfiguration = 78,
};

/// Base of the five error types. A message says what was expected, what was found, where, and what to do.
class Error : public std::runtime_error {
 public:
  ExitCode exit_code() const { return exit_code_; }

 protected:
  Error(const std::string& message, ExitCode exit_code) : std::runtime_error(message), exit_code_(exit_code) {}

 private:
  ExitCode exit_code_;
};

/// The job, the command line or a checkpoint that does not fit the job. Caught by `launch/main`.
class ConfigError : public Error {
 public:
  explicit ConfigError(const std::string& message, ExitCode exit_code = ExitCode::kBadConfiguration)
      : Error(message, exit_code) {}
};

/// An input file or one of its records; the message names file and line. kBadData or kMissingInput.
class DataError : public Error {
 public:
  explicit DataError(const std::string& message, ExitCode exit_code = ExitCode::kBadData) : Error(message, exit_code) {}
};

/// A rank or a link. kStopped: a peer was lost or called something else; kIoOrDeadline: a deadline passed.
class PeerError : public Error {
 public:
  explicit PeerError(const std::string& message, ExitCode exit_code = ExitCode::kStopped) : Error(message, exit_code) {}
};

/// A file or folder that Rondo writes, or a checkpoint that cannot be read. kCannotCreate or kIoOrDeadline.
class StorageError : public Error {
 public:
  explicit StorageError(const std::string& message, ExitCode exit_code = ExitCode::kIoOrDeadline)
      : Error(message, exit_code) {}
};

/// Our bug: a broken contract between parts. Nobody but `launch/main` catches it.
class InternalError : public Error {
 public:
  explicit InternalError(const std::string& message) : Error(message, ExitCode::kInternal) {}
};

}  // namespace rondo
