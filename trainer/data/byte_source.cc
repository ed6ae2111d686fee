#include <zlib.h>

#include <cerrno>
#include <cstring>

#include "sharding/base/check.h"
#include "trainer/data/source_file.h"

namespace rondo {

struct ByteSource::Impl {
  gzFile file = nullptr;
  ~Impl() {
    if (file != nullptr) gzclose_r(file);
  }
};

ByteSource::ByteSource(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()), path_(path) {
  std::error_code error;
  size_ = static_cast<int64_t>(std::filesystem::file_size(path, error));
  if (error) throw DataError(concat("cannot read ", path.string(), ": ", error.message()), ExitCode::kMissingInput);
  impl_->file = gzopen(path.c_str(), "rb");
  if (impl_->file == nullptr) {
    throw DataError(concat("cannot read ", path.string(), ": ", std::strerror(errno)), ExitCode::kMissingInput);
  }
  gzbuffer(impl_->file, 1 << 18);
}

ByteSource::~ByteSource() = default;

size_t ByteSource::read(char* out, size_t size) {
  const int count = gzread(impl_->file, out, static_cast<unsigned>(size));
  if (count > 0) return static_cast<size_t>(count);
  int code = Z_OK;
  const char* text = gzerror(impl_->file, &code);
  if (count < 0 || code != Z_OK) {
    const std::string what = code == Z_BUF_ERROR ? "the gzip file is truncated"
                             : code == Z_ERRNO   ? std::strerror(errno)
                                                 : text;
    throw DataError(concat(path_.string(), ": ", what));
  }
  return 0;
}

int64_t ByteSource::consumed() const { return static_cast<int64_t>(gzoffset(impl_->file)); }

}  // namespace rondo
