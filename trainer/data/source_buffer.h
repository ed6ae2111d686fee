#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "trainer/data/byte_source.h"

namespace rondo {

/// How much of a source is held at once.
struct SourceLimits {
  size_t block_bytes = 1 << 18;     ///< read at once
  size_t longest_record = 1 << 20;  ///< a longer one is rejected
};

/// The part of a source that is in memory: records are cut off its front. One thread.
class SourceBuffer {
 public:
  SourceBuffer(const std::filesystem::path& path, const SourceLimits& limits)
      : source_(path), limits_(limits), buffer_(2 * limits.block_bytes) {}

  /// What was read and not consumed yet. Valid until `more`.
  std::string_view rest() const { return {buffer_.data() + begin_, end_ - begin_}; }

  /// Consumes the first `size` bytes of `rest`.
  void consume(size_t size) { begin_ += size; }

  /// Reads more behind `rest`; false when nothing is left.
  bool more();

  /// `rest` is all there is.
  bool at_end() const { return at_end_; }

  const SourceLimits& limits() const { return limits_; }
  ByteSource& source() { return source_; }
  const ByteSource& source() const { return source_; }

 private:
  ByteSource source_;
  SourceLimits limits_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  bool at_end_ = false;
};

}  // namespace rondo
