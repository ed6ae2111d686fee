#include "trainer/data/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "sharding/base/check.h"
#include "trainer/storage/digest.h"

namespace rondo {
namespace {

constexpr size_t kBlock = 1 << 18;
constexpr int kGzipWithLargestWindow = 16 + MAX_WBITS;  // as inflateInit2 wants it

}  // namespace

struct ByteSource::Impl {
  std::filesystem::path path;
  int descriptor = -1;
  int64_t size = 0, consumed = 0, unpacked = 0;
  Sha256 digest;
  std::vector<char> block = std::vector<char>(kBlock);
  std::span<char> packed;  // of `block`, not used yet
  bool at_end = false;     // of the file
  bool is_gzip = false;
  bool in_member = false;  // of a gzip file: between its header and its checksum
  z_stream stream = {};

  ~Impl() {
    if (is_gzip) inflateEnd(&stream);
    if (descriptor >= 0) ::close(descriptor);
  }

  void open();
  void refill();
  void begin_gzip();
  size_t take_plain(std::span<char> out);
  size_t inflate_some(std::span<char> out);
  bool has_next_member();
};

void ByteSource::Impl::open() {
  descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status = {};
  if (descriptor < 0 || ::fstat(descriptor, &status) != 0) {
    throw DataError(concat("cannot read ", path.string(), ": ", std::strerror(errno)), ExitCode::kMissingInput);
  }
  if (S_ISDIR(status.st_mode)) throw DataError(concat(path.string(), " is a folder, expected a file"));
  size = status.st_size;
  refill();
  is_gzip = packed.size() >= 2 && packed[0] == '\x1F' && packed[1] == '\x8B';
  if (is_gzip) begin_gzip();
}

void ByteSource::Impl::refill() {
  ssize_t count = 0;
  do {
    count = ::read(descriptor, block.data(), block.size());
  } while (count < 0 && errno == EINTR);
  if (count < 0) throw StorageError(concat("cannot read ", path.string(), ": ", std::strerror(errno)));
  at_end = count == 0;
  consumed += count;
  packed = std::span(block).first(static_cast<size_t>(count));
  digest.update({packed.data(), packed.size()});
}

void ByteSource::Impl::begin_gzip() {
  RONDO_CHECK_EQ(inflateInit2(&stream, kGzipWithLargestWindow), Z_OK, "zlib has no memory");
  in_member = true;
}

size_t ByteSource::Impl::take_plain(std::span<char> out) {
  if (packed.empty() && !at_end) refill();
  const size_t count = std::min(out.size(), packed.size());
  std::copy_n(packed.begin(), count, out.begin());
  packed = packed.subspan(count);
  return count;
}

/// Concatenated gzip files are one; zeros behind the last (tapes have them) are nothing.
bool ByteSource::Impl::has_next_member() {
  while (true) {
    const auto next = std::find_if(packed.begin(), packed.end(), [](char c) { return c != '\0'; });
    packed = packed.subspan(static_cast<size_t>(next - packed.begin()));
    if (!packed.empty()) break;
    if (at_end) return false;
    refill();
  }
  if (packed.front() != '\x1F') throw DataError(concat(path.string(), ": bytes behind the end of the gzip data"));
  inflateReset(&stream);
  return true;
}

size_t ByteSource::Impl::inflate_some(std::span<char> out) {
  while (true) {
    if (!in_member && !(in_member = has_next_member())) return 0;
    if (packed.empty() && !at_end) refill();
    if (packed.empty()) {
      throw DataError(concat(path.string(), ": the gzip file is truncated (after ", unpacked, " unpacked bytes)"));
    }
    stream.next_in = reinterpret_cast<Bytef*>(packed.data());
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(std::min<size_t>(out.size(), 1U << 30));
    const uInt room = stream.avail_out;
    const int status = inflate(&stream, Z_NO_FLUSH);
    packed = packed.last(stream.avail_in);
    if (status == Z_STREAM_END) in_member = false;
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      throw DataError(concat(path.string(),
                             ": the gzip file is damaged: ", stream.msg != nullptr ? stream.msg : zError(status),
                             " (after ", unpacked, " unpacked bytes)"));
    }
    if (const size_t count = room - stream.avail_out; count > 0) return count;
  }
}

ByteSource::ByteSource(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  impl_->path = path;
  impl_->open();
}

ByteSource::~ByteSource() = default;
ByteSource::ByteSource(ByteSource&&) noexcept = default;

size_t ByteSource::read(std::span<char> out) {
  const size_t count = impl_->is_gzip ? impl_->inflate_some(out) : impl_->take_plain(out);
  impl_->unpacked += static_cast<int64_t>(count);
  return count;
}

int64_t ByteSource::consumed() const { return impl_->consumed; }
int64_t ByteSource::size() const { return impl_->size; }
int64_t ByteSource::unpacked() const { return impl_->unpacked; }

const std::filesystem::path& ByteSource::path() const { return impl_->path; }
std::string ByteSource::digest() { return impl_->digest.hex(); }

}  // namespace rondo
