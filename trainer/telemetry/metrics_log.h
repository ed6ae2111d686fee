#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace rondo {

/// metrics.jsonl: one JSON object a line, appended and flushed line by line. Rank 0, one thread.
class MetricsLog {
 public:
  /// Goes on with a file that is there, after dropping the lines of steps behind `resumed_step` (a run that died may
  /// have written them) and a last line that was cut short; lines of no step stay. Throws StorageError.
  MetricsLog(std::filesystem::path path, int64_t resumed_step);

  /// `object` is one JSON object as text, without line breaks.
  void write(const std::string& object);

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  std::filesystem::path path_;
  std::unique_ptr<std::FILE, Closer> file_;
};

}  // namespace rondo
