#include "trainer/text/safetensors_tensors.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

at::ScalarType scalar_type(const SafetensorsReader& file, const SafetensorsEntry& entry) {
  switch (entry.type) {
    case SafetensorsType::kFloat32:
      return at::kFloat;
    case SafetensorsType::kFloat64:
      return at::kDouble;
    case SafetensorsType::kFloat16:
      return at::kHalf;
    case SafetensorsType::kBFloat16:
      return at::kBFloat16;
    default:
      refuse_tensor(file.path(), entry.name, concat("F32, F64, F16 or BF16 expected, found ", name_of(entry.type)));
  }
}

}  // namespace

void refuse_tensor(const std::filesystem::path& file, const std::string& tensor, const std::string& reason) {
  throw DataError(concat(file.string(), ": tensor \"", tensor, "\": ", reason));
}

std::string shape_text(at::IntArrayRef shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += concat(i == 0 ? "" : ", ", shape[i]);
  return text + "]";
}

at::Tensor read_tensor(const SafetensorsReader& file, const SafetensorsEntry& entry) {
  const at::ScalarType type = scalar_type(file, entry);
  at::Tensor values = at::empty(entry.shape, type);
  file.read(entry, {static_cast<std::byte*>(values.mutable_data_ptr()), static_cast<size_t>(entry.bytes())});
  if (type != at::kDouble) values = values.to(at::kFloat);
  if (!at::isfinite(values).all().item<bool>())
    refuse_tensor(file.path(), entry.name, "not all of its numbers are finite");
  return values;
}

void require_shape(const SafetensorsReader& file, const SafetensorsEntry& entry, at::IntArrayRef expected) {
  if (at::IntArrayRef(entry.shape) == expected) return;
  refuse_tensor(file.path(), entry.name,
                concat("shape ", shape_text(expected), " expected, found ", shape_text(entry.shape)));
}

at::Tensor read_tensor(const SafetensorsReader& file, const std::string& name, at::IntArrayRef shape) {
  const SafetensorsEntry* entry = file.find(name);
  if (entry == nullptr) refuse_tensor(file.path(), name, "missing");
  require_shape(file, *entry, shape);
  return read_tensor(file, *entry);
}

SafetensorsTensor tensor_to_write(const std::string& name, const at::Tensor& values) {
  RONDO_CHECK(values.scalar_type() == at::kFloat && values.is_contiguous(), "tensor ", name, " to write");
  return {name,
          SafetensorsType::kFloat32,
          values.sizes().vec(),
          {static_cast<const char*>(values.const_data_ptr()), values.nbytes()}};
}

}  // namespace rondo
