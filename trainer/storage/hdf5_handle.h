#pragma once

#include <hdf5.h>

#include <filesystem>
#include <string>
#include <utility>

#include "trainer/storage/hdf5_file.h"

namespace rondo::hdf5 {

/// One owner per HDF5 identifier. `close` reports what the library says; the destructor cannot.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);

  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }

  hid_t get() const { return id_; }
  bool close() { return id_ < 0 || close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// Throws StorageError "file: what: text of the library" for a negative status or identifier; else returns it.
hid_t check(hid_t status, const std::filesystem::path& file, const std::string& what);

/// Silences the library's own printing and forbids loading of plug-ins. Cheap; before every open.
void prepare_library();

/// Of elements in memory and, on the machines that we run on, in the file.
Handle native_type(Hdf5Type type);

/// Type of a dataset; throws StorageError for one that we do not write.
Hdf5Type our_type(const Handle& dataset, const std::filesystem::path& file, const std::string& name);

}  // namespace rondo::hdf5
