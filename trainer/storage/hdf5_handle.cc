#include "trainer/storage/hdf5_handle.h"

#include "sharding/base/check.h"

namespace rondo::hdf5 {
namespace {

herr_t append_frame(unsigned, const H5E_error2_t* error, void* text) {
  auto& out = *static_cast<std::string*>(text);
  if (error->desc != nullptr) out += (out.empty() ? "" : "; ") + std::string(error->desc);
  return 0;
}

constexpr Hdf5Type kTypes[] = {Hdf5Type::kUint8,   Hdf5Type::kUint16,  Hdf5Type::kInt32,
                               Hdf5Type::kInt64,   Hdf5Type::kUint64,  Hdf5Type::kFloat32,
                               Hdf5Type::kFloat64, Hdf5Type::kFloat16, Hdf5Type::kBFloat16};

/// The library (1.10) has no name for these.
Handle two_byte_float(size_t exponent_bits, size_t mantissa_bits) {
  Handle type(H5Tcopy(H5T_IEEE_F32LE), H5Tclose);
  H5Tset_fields(type.get(), /*sign=*/15, /*exponent=*/mantissa_bits, exponent_bits, /*mantissa=*/0, mantissa_bits);
  H5Tset_size(type.get(), 2);
  H5Tset_ebias(type.get(), (size_t{1} << (exponent_bits - 1)) - 1);
  return type;
}

}  // namespace

hid_t check(hid_t status, const std::filesystem::path& file, const std::string& what) {
  if (status >= 0) return status;
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, append_frame, &text);
  H5Eclear2(H5E_DEFAULT);
  throw StorageError(concat(file.string(), ": cannot ", what, text.empty() ? "" : ": ", text));
}

void prepare_library() {
  // At exit the library would try once more to flush a file whose disk was full, and crash. Handles close what is ours.
  static const herr_t no_exit_handler = H5dont_atexit();
  static_cast<void>(no_exit_handler);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  H5PLset_loading_state(0);
}

Handle native_type(Hdf5Type type) {
  const auto copy_of = [](hid_t named) { return Handle(H5Tcopy(named), H5Tclose); };
  switch (type) {
    case Hdf5Type::kUint8:
      return copy_of(H5T_NATIVE_UINT8);
    case Hdf5Type::kUint16:
      return copy_of(H5T_NATIVE_UINT16);
    case Hdf5Type::kInt32:
      return copy_of(H5T_NATIVE_INT32);
    case Hdf5Type::kInt64:
      return copy_of(H5T_NATIVE_INT64);
    case Hdf5Type::kUint64:
      return copy_of(H5T_NATIVE_UINT64);
    case Hdf5Type::kFloat32:
      return copy_of(H5T_NATIVE_FLOAT);
    case Hdf5Type::kFloat64:
      return copy_of(H5T_NATIVE_DOUBLE);
    case Hdf5Type::kFloat16:
      return two_byte_float(5, 10);
    case Hdf5Type::kBFloat16:
      return two_byte_float(8, 7);
  }
  throw InternalError(concat("HDF5 type ", static_cast<int>(type), " is not known"));
}

Hdf5Type our_type(const Handle& dataset, const std::filesystem::path& file, const std::string& name) {
  const Handle type(check(H5Dget_type(dataset.get()), file, "read the type of " + name), H5Tclose);
  for (const Hdf5Type candidate : kTypes) {
    if (H5Tequal(type.get(), native_type(candidate).get()) > 0) return candidate;
  }
  throw StorageError(concat(file.string(), ": dataset ", name, " has a type that Rondo does not write"));
}

}  // namespace rondo::hdf5
