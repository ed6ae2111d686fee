#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace rondo {

/// Rejected rows: counted by reason and written to a file, one line each: file:line, reason, beginning of the row.
class Quarantine {
 public:
  /// Throws StorageError if the file cannot be made.
  Quarantine(const std::filesystem::path& file, double max_rejected_fraction);

  void accept() { ++rows_; }
  void reject(const std::filesystem::path& source, int64_t line, std::string_view reason, std::string_view row);

  /// Throws DataError (with the most frequent reason and an example) when more than the allowed fraction of the rows
  /// was rejected.
  void check_fraction() const;

  int64_t rows() const { return rows_; }
  int64_t rejected() const { return rejected_; }
  const std::map<std::string, int64_t>& by_reason() const { return by_reason_; }

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Closer> file_;
  double max_fraction_;
  int64_t rows_ = 0;  // accepted and rejected
  int64_t rejected_ = 0;
  std::map<std::string, int64_t> by_reason_;
  std::map<std::string, std::string> example_;  // reason -> first place
};

}  // namespace rondo
