#include "trainer/data/text_output.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sharding/base/check.h"

namespace rondo {

/// A stream of zlib in gzip's format. The fastest level: what a shop says compresses well anyway.
struct TextOutput::Deflate {
  Deflate() {
    constexpr int kGzip = 16 + MAX_WBITS;
    RONDO_CHECK_EQ(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, kGzip, 8, Z_DEFAULT_STRATEGY), Z_OK);
  }
  ~Deflate() { deflateEnd(&stream); }
  Deflate(const Deflate&) = delete;
  Deflate& operator=(const Deflate&) = delete;

  z_stream stream{};
  std::string block = std::string(kBlock, '\0');
};

TextOutput::TextOutput(std::filesystem::path path) : path_(std::move(path)), partial_(path_.string() + ".partial") {
  if (path_.extension() == ".gz") deflate_ = std::make_unique<Deflate>();
  descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    throw StorageError(concat("cannot create ", partial_.string(), ": ", std::strerror(errno)),
                       ExitCode::kCannotCreate);
  }
  buffer_.reserve(2 * kBlock);
}

TextOutput::~TextOutput() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(partial_.c_str());
}

void TextOutput::commit() {
  if (deflate_) {
    deflate_buffer(true);
  } else {
    flush();
  }
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0 || ::rename(partial_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    ::unlink(partial_.c_str());
    errno = error;
    fail(closed != 0 ? "close" : "rename");
  }
}

void TextOutput::flush() {
  if (deflate_) {
    deflate_buffer(false);
  } else {
    write(buffer_.data(), buffer_.size());
  }
  buffer_.clear();
}

void TextOutput::deflate_buffer(bool last) {
  z_stream& stream = deflate_->stream;
  stream.next_in = reinterpret_cast<Bytef*>(buffer_.data());
  stream.avail_in = static_cast<uInt>(buffer_.size());
  do {
    stream.next_out = reinterpret_cast<Bytef*>(deflate_->block.data());
    stream.avail_out = static_cast<uInt>(kBlock);
    RONDO_CHECK_NE(::deflate(&stream, last ? Z_FINISH : Z_NO_FLUSH), Z_STREAM_ERROR);
    write(deflate_->block.data(), kBlock - stream.avail_out);
  } while (stream.avail_out == 0);
}

void TextOutput::write(const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t written = ::write(descriptor_, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write");
    bytes += written;
    count -= static_cast<size_t>(written);
  }
}

void TextOutput::fail(const char* operation) const {
  throw StorageError(concat("cannot ", operation, " ", partial_.string(), ": ", std::strerror(errno)));
}

}  // namespace rondo
