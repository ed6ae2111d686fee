#include "trainer/storage/vector_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

/// A file beside `path` that is gone unless it was given its name.
class Draft {
 public:
  Draft(const std::filesystem::path& path, FileSystem& files)
      : path_(path), draft_(concat(path.string(), ".tmp.", ::getpid())), files_(files) {
    std::error_code absent;
    std::filesystem::remove(draft_, absent);
  }
  ~Draft() {
    std::error_code absent;
    std::filesystem::remove(draft_, absent);
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;

  const std::filesystem::path& path() const { return draft_; }
  FileSystem& files() const { return files_; }
  void commit() { files_.rename(draft_, path_); }

 private:
  std::filesystem::path path_, draft_;
  FileSystem& files_;
};

struct FileCloser {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

class NpyFile final : public VectorFile {
 public:
  NpyFile(const std::filesystem::path& path, int64_t width, FileSystem& files)
      : draft_(path, files), width_(width), file_(std::fopen(draft_.path().c_str(), "wb")) {
    if (!file_) fail("create", ExitCode::kCannotCreate);
    write_header();
  }

  void append(std::span<const float> rows) override {
    RONDO_CHECK_EQ(static_cast<int64_t>(rows.size()) % width_, 0, "values of rows");
    if (std::fwrite(rows.data(), sizeof(float), rows.size(), file_.get()) != rows.size()) fail("write");
    rows_ += static_cast<int64_t>(rows.size()) / width_;
  }

  void commit() override {
    if (std::fseek(file_.get(), 0, SEEK_SET) != 0) fail("write");
    write_header();
    if (std::fclose(file_.release()) != 0) fail("close");
    draft_.files().sync(draft_.path());
    draft_.commit();
  }

 private:
  static constexpr size_t kHeaderBytes = 128;

  /// Of the rows so far; always of the same size.
  void write_header() {
    std::string text = concat("{'descr': '<f4', 'fortran_order': False, 'shape': (", rows_, ", ", width_, "), }");
    constexpr size_t kBefore = 10;
    text.append(kHeaderBytes - kBefore - 1 - text.size(), ' ');
    text += '\n';
    const auto size = static_cast<uint16_t>(text.size());
    const std::string magic =
        std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(size & 0xFF) + static_cast<char>(size >> 8);
    if (std::fwrite(magic.data(), 1, magic.size(), file_.get()) != magic.size() ||
        std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) {
      fail("write");
    }
  }

  [[noreturn]] void fail(const char* operation, ExitCode code = ExitCode::kIoOrDeadline) const {
    throw StorageError(concat("cannot ", operation, " ", draft_.path().string(), ": ", std::strerror(errno)), code);
  }

  Draft draft_;
  int64_t width_;
  int64_t rows_ = 0;
  std::unique_ptr<std::FILE, FileCloser> file_;
};

class Hdf5VectorFile final : public VectorFile {
 public:
  Hdf5VectorFile(const std::filesystem::path& path, int64_t width, const std::map<std::string, std::string>& notes,
                 FileSystem& files)
      : draft_(path, files), width_(width), file_(draft_.path()) {
    for (const auto& [name, text] : notes) file_.set_attribute(name, text);
    file_.append<float>("vectors", {}, width_);
  }

  void append(std::span<const float> rows) override { file_.append("vectors", rows, width_); }

  void commit() override {
    file_.close(draft_.files());
    draft_.commit();
  }

 private:
  Draft draft_;
  int64_t width_;
  Hdf5Writer file_;
};

}  // namespace

std::unique_ptr<VectorFile> make_vector_file(const std::filesystem::path& path, int64_t width,
                                             const std::map<std::string, std::string>& notes, FileSystem& files) {
  const std::string kind = path.extension();
  if (kind == ".npy") return std::make_unique<NpyFile>(path, width, files);
  if (kind == ".h5" || kind == ".hdf5") return std::make_unique<Hdf5VectorFile>(path, width, notes, files);
  throw ConfigError(concat(path.string(), ": a name that ends with .npy, .h5 or .hdf5 expected"), ExitCode::kUsage);
}

}  // namespace rondo
