#include "trainer/checkpoint/dense_file.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <set>
#include <string_view>

#include "sharding/base/check.h"
#include "trainer/storage/hdf5_file.h"

namespace rondo {
namespace {

/// How a type of tensor is stored.
struct StoredType {
  at::ScalarType scalar;
  std::string_view name;
  Hdf5Type stored;
};

constexpr StoredType kStoredTypes[] = {
    {at::kFloat, "float32", Hdf5Type::kFloat32}, {at::kDouble, "float64", Hdf5Type::kFloat64},
    {at::kHalf, "float16", Hdf5Type::kUint16},   {at::kBFloat16, "bfloat16", Hdf5Type::kUint16},
    {at::kLong, "int64", Hdf5Type::kInt64},      {at::kInt, "int32", Hdf5Type::kInt32},
    {at::kByte, "uint8", Hdf5Type::kUint8},      {at::kBool, "bool", Hdf5Type::kUint8},
};

const StoredType& stored_type(const NamedTensor& tensor) {
  const auto found = std::ranges::find(kStoredTypes, tensor.value.scalar_type(), &StoredType::scalar);
  RONDO_CHECK(found != std::end(kStoredTypes), "tensor ", tensor.name, " of ", tensor.value.scalar_type());
  return *found;
}

std::vector<int64_t> stored_shape(const at::Tensor& value) {
  if (value.dim() >= 1 && value.dim() <= 4) return value.sizes().vec();
  return {value.numel()};
}

}  // namespace

std::vector<ManifestTensor> manifest_tensors(std::span<const NamedTensor> tensors) {
  std::vector<ManifestTensor> listed;
  std::set<std::string_view> names;
  for (const NamedTensor& tensor : tensors) {
    RONDO_CHECK(names.insert(tensor.name).second, "tensor ", tensor.name, " stands twice");
    listed.push_back({tensor.name, std::string(stored_type(tensor).name), tensor.value.sizes().vec()});
  }
  return listed;
}

void write_dense_file(const std::filesystem::path& path, std::span<const NamedTensor> tensors, FileSystem& files) {
  Hdf5Writer writer(path);
  for (const NamedTensor& tensor : tensors) {
    const at::Tensor value = tensor.value.detach().cpu().contiguous();
    writer.write_raw(tensor.name, stored_type(tensor).stored, value.const_data_ptr(), value.numel(),
                     stored_shape(value));
  }
  writer.close(files);
}

void read_dense_file(const std::filesystem::path& path, std::span<const NamedTensor> tensors) {
  const Hdf5Reader reader(path);
  for (const NamedTensor& tensor : tensors) {
    if (reader.shape(tensor.name) != stored_shape(tensor.value)) {
      throw StorageError(concat(path.string(), ": dataset ", tensor.name, " has another shape than in the manifest"));
    }
    at::Tensor value = at::empty(tensor.value.sizes(), at::TensorOptions(tensor.value.scalar_type()));
    reader.read_raw(tensor.name, stored_type(tensor).stored, value.data_ptr(), 0, -1);
    tensor.value.detach().copy_(value);
  }
}

}  // namespace rondo
