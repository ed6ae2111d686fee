#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace rondo {

/// Element types of our HDF5 files. kFloat16 is IEEE binary16 (h5py: float16); kBFloat16 is a float of 8 bits exponent
/// and 7 bits mantissa (h5py and h5dump read it as fp32, exactly). Text is stored as `<name>/bytes` (uint8) and
/// `<name>/offsets` (int64, n + 1).
enum class Hdf5Type : uint8_t { kUint8, kUint16, kInt32, kInt64, kUint64, kFloat32, kFloat64, kFloat16, kBFloat16 };

template <typename T>
constexpr Hdf5Type hdf5_type();  // defined below for the types above

class FileSystem;

/// A new HDF5 file, latest format, no filters, mode 0600: written once, front to back. Names are paths
/// ("item/values"); groups are made on the way. The same calls give the same bytes: no time of day is kept. Every HDF5
/// status is checked: StorageError names file, dataset and what the library said.
class Hdf5Writer {
 public:
  /// Replaces nothing: the file must not exist.
  explicit Hdf5Writer(const std::filesystem::path& path);
  ~Hdf5Writer();
  Hdf5Writer(Hdf5Writer&&) noexcept;

  /// A whole dataset of `shape`; values.size() is the product.
  template <typename T>
  void write(const std::string& name, std::span<const T> values, const std::vector<int64_t>& shape) {
    write_raw(name, hdf5_type<T>(), values.data(), static_cast<int64_t>(values.size()), shape);
  }
  template <typename T>
  void write(const std::string& name, std::span<const T> values) {
    write(name, values, {static_cast<int64_t>(values.size())});
  }

  /// Adds rows to a one- or two-dimensional dataset that grows; made on first use (chunked). `width` 0:
  /// one-dimensional.
  template <typename T>
  void append(const std::string& name, std::span<const T> values, int64_t width = 0) {
    append_raw(name, hdf5_type<T>(), values.data(), static_cast<int64_t>(values.size()), width);
  }

  /// Says how many rows `append` will give a dataset, so that it lies in one piece (not in chunks). `close` throws
  /// InternalError if they were others. `width` as in `append`.
  void declare(const std::string& name, Hdf5Type type, int64_t rows, int64_t width = 0);

  void set_attribute(const std::string& name, int64_t value);
  void set_attribute(const std::string& name, const std::string& value);

  /// Closes, then opens again to fsync (through `files` where it is given). The destructor alone leaves a file that is
  /// not durable.
  void close();
  void close(FileSystem& files);

  void write_raw(const std::string& name, Hdf5Type type, const void* values, int64_t count,
                 const std::vector<int64_t>& shape);
  void append_raw(const std::string& name, Hdf5Type type, const void* values, int64_t count, int64_t width);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// An HDF5 file to read. Refuses external storage, soft and external links, virtual layout, filters, and a declared
/// size that the file cannot hold (reliability_ops 5.1). Verify the digest first where there is one.
class Hdf5Reader {
 public:
  explicit Hdf5Reader(const std::filesystem::path& path);
  ~Hdf5Reader();
  Hdf5Reader(Hdf5Reader&&) noexcept;

  bool has(const std::string& name) const;
  std::vector<int64_t> shape(const std::string& name) const;
  Hdf5Type type(const std::string& name) const;

  /// The whole dataset; throws StorageError if its type is another one.
  template <typename T>
  std::vector<T> read(const std::string& name) const {
    std::vector<T> values(static_cast<size_t>(elements(name)));
    read_raw(name, hdf5_type<T>(), values.data(), 0, -1);
    return values;
  }

  /// Rows [first, first + count) of the first dimension into `values`.
  template <typename T>
  void read_rows(const std::string& name, int64_t first, int64_t count, std::span<T> values) const {
    read_raw(name, hdf5_type<T>(), values.data(), first, count);
  }

  int64_t attribute_int(const std::string& name) const;
  std::string attribute_text(const std::string& name) const;

  /// Names of all datasets, sorted.
  std::vector<std::string> datasets() const;
  int64_t elements(const std::string& name) const;
  void read_raw(const std::string& name, Hdf5Type type, void* values, int64_t first, int64_t count) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

template <>
constexpr Hdf5Type hdf5_type<uint8_t>() {
  return Hdf5Type::kUint8;
}
template <>
constexpr Hdf5Type hdf5_type<uint16_t>() {
  return Hdf5Type::kUint16;
}
template <>
constexpr Hdf5Type hdf5_type<int32_t>() {
  return Hdf5Type::kInt32;
}
template <>
constexpr Hdf5Type hdf5_type<int64_t>() {
  return Hdf5Type::kInt64;
}
template <>
constexpr Hdf5Type hdf5_type<uint64_t>() {
  return Hdf5Type::kUint64;
}
template <>
constexpr Hdf5Type hdf5_type<float>() {
  return Hdf5Type::kFloat32;
}
template <>
constexpr Hdf5Type hdf5_type<double>() {
  return Hdf5Type::kFloat64;
}

}  // namespace rondo
