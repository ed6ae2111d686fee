#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace rondo {

/// A text file that is written from front to back, plain or as gzip (by the name's ".gz"), and has its name only when
/// it is complete: until `commit` it is "<name>.partial", which the destructor removes. One thread.
///
/// Failures are StorageErrors that name the file: kCannotCreate when it cannot be made, kIoOrDeadline after that.
class TextOutput {
 public:
  explicit TextOutput(std::filesystem::path path);
  ~TextOutput();
  TextOutput(const TextOutput&) = delete;
  TextOutput& operator=(const TextOutput&) = delete;

  /// Where to append; call `flush_full` now and then.
  std::string& buffer() { return buffer_; }

  /// Writes the buffer out once it holds a block.
  void flush_full() {
    if (buffer_.size() >= kBlock) flush();
  }

  /// Writes the rest, closes the file and gives it its name.
  void commit();

 private:
  struct Deflate;
  static constexpr size_t kBlock = size_t{1} << 18;

  void flush();
  void deflate_buffer(bool last);
  void write(const char* bytes, size_t count);
  [[noreturn]] void fail(const char* operation) const;

  std::filesystem::path path_;
  std::filesystem::path partial_;
  std::string buffer_;
  std::unique_ptr<Deflate> deflate_;  // null: plain
  int descriptor_ = -1;
};

}  // namespace rondo
