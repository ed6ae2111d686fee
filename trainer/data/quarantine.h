#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace rondo {

/// Rejected rows: counted by reason and written to a file, one line each: file:line, reason, beginning of the row
/// (separated by tabs; control characters of the row as "?"). One thread.
class Quarantine {
 public:
  /// Adds to `file`. Throws StorageError (kCannotCreate) if it cannot be made.
  Quarantine(const std::filesystem::path& file, double max_rejected_fraction);

  void accept() { ++rows_; }

  struct Row {
    const std::filesystem::path& source;
    int64_t line;
    std::string_view text;
  };
  void reject(const Row& row, std::string_view reason);

  /// Throws DataError (with the most frequent reason and an example) when more than the allowed fraction of the rows
  /// was rejected.
  void check_fraction() const;

  /// The same when it can be told after a part (0 to 1) of the source: even if no more rows are rejected.
  void check_hopeless(double part_read) const;

  /// Writes what is buffered. Throws StorageError.
  void flush();

  int64_t rows() const { return rows_; }
  int64_t rejected() const { return rejected_; }
  const std::map<std::string, int64_t, std::less<>>& by_reason() const { return by_reason_; }

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  [[noreturn]] void fail_fraction() const;

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Closer> file_;
  double max_fraction_;
  int64_t rows_ = 0;  // accepted and rejected
  int64_t rejected_ = 0;
  std::map<std::string, int64_t, std::less<>> by_reason_;
  std::map<std::string, std::string, std::less<>> example_;  // reason -> first place
};

}  // namespace rondo
