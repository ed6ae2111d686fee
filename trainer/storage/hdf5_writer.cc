#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

#include "sharding/base/check.h"
#include "trainer/storage/file_system.h"
#include "trainer/storage/hdf5_file.h"
#include "trainer/storage/hdf5_handle.h"

namespace rondo {

using hdf5::check;
using hdf5::Handle;

namespace {

/// Rows of a growing dataset are stored in chunks of about this size.
constexpr int64_t kChunkBytes = 1 << 18;

/// Makes an empty file that only its owner may read (the library would follow the umask); it must not exist.
void reserve_name(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0 || ::close(file) != 0) {
    throw StorageError(concat("cannot create ", path.string(), ": ", std::strerror(errno)), ExitCode::kCannotCreate);
  }
}

/// How an object is made: without the time of day, so that equal content is equal bytes.
Handle creation_list(hid_t kind) {
  Handle list(H5Pcreate(kind), H5Pclose);
  H5Pset_obj_track_times(list.get(), 0);
  return list;
}

/// A dataset that `append` fills.
struct Appended {
  Handle dataset;
  int64_t filled = 0;     // rows
  int64_t declared = -1;  // rows; -1: it grows
};

}  // namespace

struct Hdf5Writer::Impl {
  std::filesystem::path path;
  Handle file;
  std::map<std::string, Appended> appended;

  /// The groups that `name` lies in.
  void make_groups(const std::string& name) const {
    const Handle creation = creation_list(H5P_GROUP_CREATE);
    for (size_t slash = name.find('/', 1); slash != std::string::npos; slash = name.find('/', slash + 1)) {
      const std::string group = name.substr(0, slash);
      if (check(H5Lexists(file.get(), group.c_str(), H5P_DEFAULT), path, "find " + group) > 0) continue;
      const Handle made(check(H5Gcreate2(file.get(), group.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), path,
                              "create group " + group),
                        H5Gclose);
    }
  }

  Handle create(const std::string& name, Hdf5Type type, const Handle& space, const Handle& creation) const {
    make_groups(name);
    return {check(H5Dcreate2(file.get(), name.c_str(), hdf5::native_type(type).get(), space.get(), H5P_DEFAULT,
                             creation.get(), H5P_DEFAULT),
                  path, "create dataset " + name),
            H5Dclose};
  }

  Appended& growing_dataset(const std::string& name, Hdf5Type type, int64_t width) {
    if (const auto found = appended.find(name); found != appended.end()) return found->second;
    const int rank = width > 0 ? 2 : 1;
    const hsize_t columns = static_cast<hsize_t>(width);
    const hsize_t now[2] = {0, columns}, most[2] = {H5S_UNLIMITED, columns};
    const Handle space(check(H5Screate_simple(rank, now, most), path, "shape " + name), H5Sclose);
    const Handle creation = creation_list(H5P_DATASET_CREATE);
    const int64_t row_bytes =
        std::max<int64_t>(width, 1) * static_cast<int64_t>(H5Tget_size(hdf5::native_type(type).get()));
    const hsize_t chunk[2] = {static_cast<hsize_t>(std::max<int64_t>(kChunkBytes / row_bytes, 1)), columns};
    check(H5Pset_chunk(creation.get(), rank, chunk), path, "chunk " + name);
    return appended.emplace(name, Appended{create(name, type, space, creation)}).first->second;
  }
};

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  hdf5::prepare_library();
  impl_->path = path;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  check(H5Pset_libver_bounds(access.get(), H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), path, "choose the format");
  reserve_name(path);
  impl_->file = Handle(check(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation_list(H5P_FILE_CREATE).get(), access.get()),
                             path, "create the file"),
                       H5Fclose);
}

Hdf5Writer::~Hdf5Writer() = default;
Hdf5Writer::Hdf5Writer(Hdf5Writer&&) noexcept = default;

void Hdf5Writer::write_raw(const std::string& name, Hdf5Type type, const void* values, int64_t count,
                           const std::vector<int64_t>& shape) {
  std::vector<hsize_t> extent(shape.begin(), shape.end());
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  RONDO_CHECK_EQ(count, product, "elements of ", name);
  const auto rank = static_cast<int>(extent.size());
  const Handle space(check(H5Screate_simple(rank, extent.data(), nullptr), impl_->path, "shape " + name), H5Sclose);
  Handle dataset = impl_->create(name, type, space, creation_list(H5P_DATASET_CREATE));
  if (count > 0) {
    check(H5Dwrite(dataset.get(), hdf5::native_type(type).get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values), impl_->path,
          "write dataset " + name);
  }
  check(dataset.close() ? 0 : -1, impl_->path, "close dataset " + name);
}

void Hdf5Writer::declare(const std::string& name, Hdf5Type type, int64_t rows, int64_t width) {
  const hsize_t extent[2] = {static_cast<hsize_t>(rows), static_cast<hsize_t>(width)};
  const Handle space(check(H5Screate_simple(width > 0 ? 2 : 1, extent, nullptr), impl_->path, "shape " + name),
                     H5Sclose);
  const bool fresh =
      impl_->appended
          .emplace(name, Appended{impl_->create(name, type, space, creation_list(H5P_DATASET_CREATE)), 0, rows})
          .second;
  RONDO_CHECK(fresh, "dataset ", name, " declared twice");
}

void Hdf5Writer::append_raw(const std::string& name, Hdf5Type type, const void* values, int64_t count, int64_t width) {
  Appended& target = impl_->growing_dataset(name, type, width);
  const int64_t columns = std::max<int64_t>(width, 1), rows = count / columns;
  RONDO_CHECK_EQ(count % columns, 0, "elements of ", name);
  if (rows == 0) return;
  const hsize_t start[2] = {static_cast<hsize_t>(target.filled), 0};
  const hsize_t block[2] = {static_cast<hsize_t>(rows), static_cast<hsize_t>(width)};
  const hsize_t extent[2] = {start[0] + block[0], block[1]};
  if (target.declared < 0) {
    check(H5Dset_extent(target.dataset.get(), extent), impl_->path, "grow dataset " + name);
  }
  const Handle there(check(H5Dget_space(target.dataset.get()), impl_->path, "read the shape of " + name), H5Sclose);
  check(H5Sselect_hyperslab(there.get(), H5S_SELECT_SET, start, nullptr, block, nullptr), impl_->path,
        "select rows of " + name);
  const Handle here(check(H5Screate_simple(width > 0 ? 2 : 1, block, nullptr), impl_->path, "shape " + name), H5Sclose);
  check(H5Dwrite(target.dataset.get(), hdf5::native_type(type).get(), here.get(), there.get(), H5P_DEFAULT, values),
        impl_->path, "write dataset " + name);
  target.filled += rows;
}

void Hdf5Writer::set_attribute(const std::string& name, int64_t value) {
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(
      check(H5Acreate2(impl_->file.get(), name.c_str(), H5T_NATIVE_INT64, space.get(), H5P_DEFAULT, H5P_DEFAULT),
            impl_->path, "create attribute " + name),
      H5Aclose);
  check(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value), impl_->path, "write attribute " + name);
}

void Hdf5Writer::set_attribute(const std::string& name, const std::string& value) {
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  check(H5Tset_size(type.get(), std::max<size_t>(value.size(), 1)), impl_->path, "size attribute " + name);
  const Handle attribute(
      check(H5Acreate2(impl_->file.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), impl_->path,
            "create attribute " + name),
      H5Aclose);
  check(H5Awrite(attribute.get(), type.get(), value.c_str()), impl_->path, "write attribute " + name);
}

void Hdf5Writer::close() { close(*make_posix_file_system()); }

void Hdf5Writer::close(FileSystem& files) {
  for (auto& [name, target] : impl_->appended) {
    RONDO_CHECK(target.declared < 0 || target.declared == target.filled, name, " declared with ", target.declared,
                " rows, got ", target.filled);
    check(target.dataset.close() ? 0 : -1, impl_->path, "close dataset " + name);
  }
  impl_->appended.clear();
  check(impl_->file.close() ? 0 : -1, impl_->path, "close the file");
  // The library itself never syncs (reliability_ops 2.2).
  files.sync(impl_->path);
}

}  // namespace rondo
