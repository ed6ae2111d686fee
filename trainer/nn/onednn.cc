#include "trainer/nn/onednn.h"

// The C interface: the C++ one is inline, and LibTorch carries that of another version.
#include <dnnl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <type_traits>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo::onednn {
namespace {

void check(dnnl_status_t status, const char* what) {
  if (status != dnnl_success) throw InternalError(concat("oneDNN: ", what, " failed with status ", int{status}));
}

template <auto kDestroy>
struct Destroyer {
  template <typename T>
  void operator()(T* handle) const noexcept {
    kDestroy(handle);
  }
};
template <typename Handle, auto kDestroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer<kDestroy>>;

using Engine = Owned<dnnl_engine_t, dnnl_engine_destroy>;
using Stream = Owned<dnnl_stream_t, dnnl_stream_destroy>;
using Description = Owned<dnnl_primitive_desc_t, dnnl_primitive_desc_destroy>;
using Primitive = Owned<dnnl_primitive_t, dnnl_primitive_destroy>;
using Memory = Owned<dnnl_memory_t, dnnl_memory_destroy>;

Engine make_engine() {
  dnnl_engine_t engine = nullptr;
  check(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
  return Engine(engine);
}

Stream make_stream(const Engine& engine) {
  dnnl_stream_t stream = nullptr;
  check(dnnl_stream_create(&stream, engine.get(), dnnl_stream_default_flags), "stream");
  return Stream(stream);
}

template <typename T>
dnnl_memory_desc_t layout(const Matrix<T>& matrix) {
  const dnnl_dims_t sizes = {matrix.rows, matrix.columns};
  const dnnl_dims_t strides = {matrix.transposed ? 1 : matrix.columns, matrix.transposed ? matrix.rows : 1};
  constexpr dnnl_data_type_t kType = std::is_same_v<T, float> ? dnnl_f32 : dnnl_bf16;
  dnnl_memory_desc_t result;
  check(dnnl_memory_desc_init_by_strides(&result, 2, sizes, kType, strides), "layout");
  return result;
}

/// oneDNN's interface takes no pointer to const; what it reads it does not write.
Memory memory_of(const dnnl_memory_desc_t& layout, const Engine& engine, const void* data) {
  dnnl_memory_t memory = nullptr;
  check(dnnl_memory_create(&memory, &layout, engine.get(), const_cast<void*>(data)), "memory");
  return Memory(memory);
}

/// Of one shape; oneDNN keeps the code that it generates from call to call.
Primitive make_product(const dnnl_memory_desc_t& left, const dnnl_memory_desc_t& right, const dnnl_memory_desc_t& out,
                       const Engine& engine) {
  dnnl_matmul_desc_t operation;
  check(dnnl_matmul_desc_init(&operation, &left, &right, nullptr, &out), "matmul");
  dnnl_primitive_desc_t description = nullptr;
  check(dnnl_primitive_desc_create(&description, &operation, nullptr, engine.get(), nullptr), "matmul");
  const Description owned(description);
  dnnl_primitive_t primitive = nullptr;
  check(dnnl_primitive_create(&primitive, description), "matmul");
  return Primitive(primitive);
}

/// A product without rows, columns or terms, which oneDNN refuses.
template <typename T>
bool is_empty(const Matrix<T>& left, const Matrix<T>& right) {
  RONDO_CHECK_EQ(left.columns, right.rows, "inner size of a product");
  return left.rows == 0 || left.columns == 0 || right.columns == 0;
}

}  // namespace

void multiply(const Matrix<float>& left, const Matrix<float>& right, bool add, float* out) {
  if (is_empty(left, right)) {
    if (!add) std::fill_n(out, left.rows * right.columns, 0.0F);
    return;
  }
  const auto flag = [](const Matrix<float>& matrix) { return matrix.transposed ? 'T' : 'N'; };
  const auto stride = [](const Matrix<float>& matrix) { return matrix.transposed ? matrix.rows : matrix.columns; };
  check(dnnl_sgemm(flag(left), flag(right), left.rows, right.columns, left.columns, 1.0F, left.data, stride(left),
                   right.data, stride(right), add ? 1.0F : 0.0F, out, right.columns),
        "sgemm");
}

void multiply(const Matrix<uint16_t>& left, const Matrix<uint16_t>& right, float* out) {
  if (is_empty(left, right)) {
    std::fill_n(out, left.rows * right.columns, 0.0F);
    return;
  }
  const Engine engine = make_engine();
  const Stream stream = make_stream(engine);
  const dnnl_memory_desc_t left_layout = layout(left), right_layout = layout(right);
  const dnnl_memory_desc_t out_layout = layout(Matrix<float>{out, left.rows, right.columns});
  const Primitive product = make_product(left_layout, right_layout, out_layout, engine);
  const Memory left_memory = memory_of(left_layout, engine, left.data);
  const Memory right_memory = memory_of(right_layout, engine, right.data);
  const Memory out_memory = memory_of(out_layout, engine, out);
  const std::array<dnnl_exec_arg_t, 3> arguments = {
      {{DNNL_ARG_SRC, left_memory.get()}, {DNNL_ARG_WEIGHTS, right_memory.get()}, {DNNL_ARG_DST, out_memory.get()}}};
  check(dnnl_primitive_execute(product.get(), stream.get(), arguments.size(), arguments.data()), "matmul");
  check(dnnl_stream_wait(stream.get()), "matmul");
}

}  // namespace rondo::onednn
