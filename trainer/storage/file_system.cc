#include "trainer/storage/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "sharding/base/check.h"

namespace rondo {
namespace {

[[noreturn]] void fail(const char* operation, const std::filesystem::path& path, int error,
                       ExitCode code = ExitCode::kIoOrDeadline) {
  throw StorageError(concat("cannot ", operation, " ", path.string(), ": ", std::strerror(error)), code);
}

/// Closes on the way out; `close` reports what the system says.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }
  bool close() { return ::close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

void write_all(int descriptor, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("write", path, errno);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

class PosixFileSystem final : public FileSystem {
 public:
  void make_folder(const std::filesystem::path& folder) override {
    std::filesystem::path done;
    for (const auto& part : folder) {
      done /= part;
      if (done.empty() || ::mkdir(done.c_str(), 0700) == 0) continue;
      const int error = errno;
      std::error_code ignored;
      if (!std::filesystem::is_directory(done, ignored)) fail("make folder", done, error, ExitCode::kCannotCreate);
    }
  }

  void replace_file(const std::filesystem::path& path, std::string_view bytes) override {
    const auto temporary = std::filesystem::path(concat(path.string(), ".tmp.", ::getpid()));
    Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.get() < 0) fail("create", temporary, errno, ExitCode::kCannotCreate);
    try {
      write_all(file.get(), bytes, temporary);
      if (::fsync(file.get()) != 0) fail("sync", temporary, errno);
      if (!file.close()) fail("close", temporary, errno);
      rename(temporary, path);
    } catch (...) {
      ::unlink(temporary.c_str());
      throw;
    }
  }

  void sync(const std::filesystem::path& path) override {
    Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) fail("open", path, errno);
    if (::fsync(file.get()) != 0) fail("sync", path, errno);
  }

  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) fail("rename to", to, errno);
    const auto parent = to.parent_path();
    sync(parent.empty() ? "." : parent);
  }

  void remove(const std::filesystem::path& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) fail("remove", path, error.value());
  }

  int64_t free_bytes(const std::filesystem::path& path) const override {
    std::error_code error;
    const auto space = std::filesystem::space(path, error);
    if (error) fail("read the free space of", path, error.value());
    return static_cast<int64_t>(space.available);
  }
};

}  // namespace

std::unique_ptr<FileSystem> make_posix_file_system() { return std::make_unique<PosixFileSystem>(); }

std::string read_file(const std::filesystem::path& path, int64_t limit_bytes) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0 && errno == ENOENT) {
    throw DataError(concat("no such file: ", path.string()), ExitCode::kMissingInput);
  }
  if (file.get() < 0) fail("open", path, errno);
  std::string text;
  char block[1 << 16];
  while (true) {
    const ssize_t count = ::read(file.get(), block, sizeof(block));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("read", path, errno);
    if (count == 0) return text;
    text.append(block, static_cast<size_t>(count));
    if (static_cast<int64_t>(text.size()) > limit_bytes) {
      throw StorageError(concat(path.string(), " is larger than the ", limit_bytes, " bytes expected at most"));
    }
  }
}

}  // namespace rondo
