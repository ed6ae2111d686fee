#include <hdf5.h>

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/storage/hdf5_file.h"
#include "trainer/storage/hdf5_handle.h"

namespace rondo {

using hdf5::check;
using hdf5::Handle;

namespace {

/// Deepest nesting of groups that we write is two; more is not ours.
constexpr size_t kLongestName = 512;

}  // namespace

struct Hdf5Reader::Impl {
  std::filesystem::path path;
  Handle file;
  int64_t file_bytes = 0;

  Handle dataset(const std::string& name) const {
    require_hard_links(name);
    Handle dataset(check(H5Dopen2(file.get(), name.c_str(), H5P_DEFAULT), path, "open dataset " + name), H5Dclose);
    require_plain_storage(dataset, name);
    return dataset;
  }

  std::vector<int64_t> shape(const Handle& dataset, const std::string& name) const {
    const Handle space(check(H5Dget_space(dataset.get()), path, "read the shape of " + name), H5Sclose);
    const int rank = H5Sget_simple_extent_ndims(space.get());
    if (rank < 1 || rank > 4)
      throw StorageError(concat(path.string(), ": dataset ", name, " has ", rank, " dimensions"));
    hsize_t extent[4] = {};
    check(H5Sget_simple_extent_dims(space.get(), extent, nullptr), path, "read the shape of " + name);
    return {extent, extent + rank};
  }

  /// Elements, with the declared size held against the file: a lying header must not make us allocate.
  int64_t elements(const Handle& dataset, const std::string& name) const {
    const auto element_bytes =
        static_cast<int64_t>(H5Tget_size(hdf5::native_type(hdf5::our_type(dataset, path, name)).get()));
    int64_t count = 1;
    for (const int64_t size : shape(dataset, name)) {
      if (size < 0 || (size > 0 && count > file_bytes / size)) refuse_size(name);
      count *= size;
    }
    if (count > file_bytes / element_bytes) refuse_size(name);
    return count;
  }

 private:
  [[noreturn]] void refuse_size(const std::string& name) const {
    throw StorageError(concat(path.string(), ": dataset ", name, " declares more than the ", file_bytes,
                              " bytes of the file can hold"));
  }

  /// Every part of the path is a hard link: soft and external ones lead out of the file or in circles.
  void require_hard_links(const std::string& name) const {
    for (size_t slash = name.find('/'); true; slash = name.find('/', slash + 1)) {
      const std::string part = name.substr(0, slash);
      H5L_info_t info;
      check(H5Lget_info(file.get(), part.c_str(), &info, H5P_DEFAULT), path, "find " + name);
      if (info.type != H5L_TYPE_HARD) throw StorageError(concat(path.string(), ": ", part, " is a link to elsewhere"));
      if (slash == std::string::npos) return;
    }
  }

  void require_plain_storage(const Handle& dataset, const std::string& name) const {
    const Handle creation(check(H5Dget_create_plist(dataset.get()), path, "read the layout of " + name), H5Pclose);
    const H5D_layout_t layout = H5Pget_layout(creation.get());
    const bool plain = (layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED || layout == H5D_COMPACT) &&
                       H5Pget_external_count(creation.get()) == 0 && H5Pget_nfilters(creation.get()) == 0;
    if (!plain) {
      throw StorageError(
          concat(path.string(), ": dataset ", name, " uses external storage, a virtual layout or a filter"));
    }
  }
};

Hdf5Reader::Hdf5Reader(const std::filesystem::path& path) : impl_(std::make_unique<Impl>()) {
  hdf5::prepare_library();
  impl_->path = path;
  std::error_code error;
  const auto bytes = std::filesystem::file_size(path, error);
  if (error) throw DataError(concat("cannot read ", path.string(), ": ", error.message()), ExitCode::kMissingInput);
  impl_->file_bytes = static_cast<int64_t>(bytes);
  impl_->file = Handle(check(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), path, "open the file"), H5Fclose);
}

Hdf5Reader::~Hdf5Reader() = default;
Hdf5Reader::Hdf5Reader(Hdf5Reader&&) noexcept = default;

bool Hdf5Reader::has(const std::string& name) const {
  for (size_t slash = name.find('/'); true; slash = name.find('/', slash + 1)) {
    const std::string part = name.substr(0, slash);
    const htri_t exists = H5Lexists(impl_->file.get(), part.c_str(), H5P_DEFAULT);
    check(exists, impl_->path, "look for " + part);
    if (exists == 0) return false;
    if (slash == std::string::npos) return true;
  }
}

std::vector<int64_t> Hdf5Reader::shape(const std::string& name) const {
  return impl_->shape(impl_->dataset(name), name);
}

Hdf5Type Hdf5Reader::type(const std::string& name) const {
  return hdf5::our_type(impl_->dataset(name), impl_->path, name);
}

int64_t Hdf5Reader::elements(const std::string& name) const { return impl_->elements(impl_->dataset(name), name); }

void Hdf5Reader::read_raw(const std::string& name, Hdf5Type type, void* values, int64_t first, int64_t count) const {
  const Handle dataset = impl_->dataset(name);
  if (hdf5::our_type(dataset, impl_->path, name) != type) {
    throw StorageError(concat(impl_->path.string(), ": dataset ", name, " has another type than expected"));
  }
  impl_->elements(dataset, name);
  const std::vector<int64_t> shape = impl_->shape(dataset, name);
  if (count < 0) count = shape[0];
  RONDO_CHECK(first >= 0 && first + count <= shape[0], "rows of ", name);
  if (count == 0) return;
  std::vector<hsize_t> start(shape.size(), 0), block(shape.begin(), shape.end());
  start[0] = static_cast<hsize_t>(first);
  block[0] = static_cast<hsize_t>(count);
  const Handle source(check(H5Dget_space(dataset.get()), impl_->path, "read the shape of " + name), H5Sclose);
  check(H5Sselect_hyperslab(source.get(), H5S_SELECT_SET, start.data(), nullptr, block.data(), nullptr), impl_->path,
        "select rows of " + name);
  const Handle target(
      check(H5Screate_simple(static_cast<int>(block.size()), block.data(), nullptr), impl_->path, "shape " + name),
      H5Sclose);
  check(H5Dread(dataset.get(), hdf5::native_type(type).get(), target.get(), source.get(), H5P_DEFAULT, values),
        impl_->path, "read dataset " + name);
}

int64_t Hdf5Reader::attribute_int(const std::string& name) const {
  const Handle attribute(
      check(H5Aopen(impl_->file.get(), name.c_str(), H5P_DEFAULT), impl_->path, "open attribute " + name), H5Aclose);
  int64_t value = 0;
  check(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), impl_->path, "read attribute " + name);
  return value;
}

std::string Hdf5Reader::attribute_text(const std::string& name) const {
  const Handle attribute(
      check(H5Aopen(impl_->file.get(), name.c_str(), H5P_DEFAULT), impl_->path, "open attribute " + name), H5Aclose);
  const Handle type(check(H5Aget_type(attribute.get()), impl_->path, "read attribute " + name), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0 ||
      static_cast<int64_t>(H5Tget_size(type.get())) > impl_->file_bytes) {
    throw StorageError(concat(impl_->path.string(), ": attribute ", name, " is no text of fixed length"));
  }
  std::string value(H5Tget_size(type.get()), '\0');
  check(H5Aread(attribute.get(), type.get(), value.data()), impl_->path, "read attribute " + name);
  return value.c_str();
}

std::vector<std::string> Hdf5Reader::datasets() const {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5L_info_t* info, void* out) -> herr_t {
    auto& list = *static_cast<std::vector<std::string>*>(out);
    if (info->type != H5L_TYPE_HARD || std::string_view(name).size() > kLongestName) return -1;
    list.emplace_back(name);
    return 0;
  };
  check(H5Lvisit(impl_->file.get(), H5_INDEX_NAME, H5_ITER_INC, collect, &names), impl_->path, "list the datasets");
  std::erase_if(names, [this](const std::string& name) {
    H5O_info_t info;
    check(H5Oget_info_by_name2(impl_->file.get(), name.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT), impl_->path,
          "look at " + name);
    return info.type != H5O_TYPE_DATASET;
  });
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace rondo
