#include "trainer/nn/onednn.h"

// The C interface: the C++ one is inline, and LibTorch carries that of another version.
#include <dlfcn.h>
#include <dnnl.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>
#include <type_traits>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"

namespace rondo::onednn {
namespace {

// What is called, by the names of the C interface.
#define RONDO_ONEDNN_FUNCTIONS(apply)                                                                                \
  apply(sgemm) apply(engine_create) apply(engine_destroy) apply(stream_create) apply(stream_destroy)                 \
      apply(stream_wait) apply(memory_desc_init_by_strides) apply(memory_create) apply(memory_destroy)               \
          apply(matmul_desc_init) apply(primitive_desc_create) apply(primitive_desc_destroy) apply(primitive_create) \
              apply(primitive_destroy) apply(primitive_execute)

struct Library {
#define RONDO_ONEDNN_MEMBER(name) decltype(&dnnl_##name) name = nullptr;
  RONDO_ONEDNN_FUNCTIONS(RONDO_ONEDNN_MEMBER)
#undef RONDO_ONEDNN_MEMBER
  bool complete = true;
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
Library open_library() { return {.complete = false}; }
#else
Library open_library() {
  Library library;
  // Stays open: code that it generated may run until the process ends.
  void* const handle = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
#define RONDO_ONEDNN_FIND(name)                                                                                        \
  library.name = handle == nullptr ? nullptr : reinterpret_cast<decltype(&dnnl_##name)>(dlsym(handle, "dnnl_" #name)); \
  library.complete = library.complete && library.name != nullptr;
  RONDO_ONEDNN_FUNCTIONS(RONDO_ONEDNN_FIND)
#undef RONDO_ONEDNN_FIND
  return library;
}
#endif

const Library& library() {
  static const Library opened = open_library();
  return opened;
}

void check(dnnl_status_t status, std::string_view what) {
  if (status != dnnl_success) throw InternalError(concat("oneDNN: ", what, " failed with status ", int{status}));
}

template <auto Library::* kDestroy>
struct Destroyer {
  template <typename T>
  void operator()(T* handle) const noexcept {
    (library().*kDestroy)(handle);
  }
};
template <typename Handle, auto Library::* kDestroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroyer<kDestroy>>;

using Engine = Owned<dnnl_engine_t, &Library::engine_destroy>;
using Stream = Owned<dnnl_stream_t, &Library::stream_destroy>;
using Description = Owned<dnnl_primitive_desc_t, &Library::primitive_desc_destroy>;
using Primitive = Owned<dnnl_primitive_t, &Library::primitive_destroy>;
using Memory = Owned<dnnl_memory_t, &Library::memory_destroy>;

Engine make_engine() {
  dnnl_engine_t engine = nullptr;
  check(library().engine_create(&engine, dnnl_cpu, 0), "engine");
  return Engine(engine);
}

Stream make_stream(const Engine& engine) {
  dnnl_stream_t stream = nullptr;
  check(library().stream_create(&stream, engine.get(), dnnl_stream_default_flags), "stream");
  return Stream(stream);
}

/// A matrix of which `part` is one or all of it: rows or columns next to each other.
template <typename T>
dnnl_memory_desc_t layout(const Matrix<T>& part, const Matrix<T>& whole) {
  const dnnl_dims_t sizes = {part.rows, part.columns};
  const dnnl_dims_t strides = {whole.transposed ? 1 : whole.columns, whole.transposed ? whole.rows : 1};
  constexpr dnnl_data_type_t kType = std::is_same_v<T, float> ? dnnl_f32 : dnnl_bf16;
  dnnl_memory_desc_t result;
  check(library().memory_desc_init_by_strides(&result, 2, sizes, kType, strides), "layout");
  return result;
}

/// Columns [begin, end).
template <typename T>
Matrix<T> columns_of(const Matrix<T>& matrix, int64_t begin, int64_t end) {
  return {matrix.data + begin * (matrix.transposed ? matrix.rows : 1), matrix.rows, end - begin, matrix.transposed};
}

/// oneDNN's interface takes no pointer to const; what it reads it does not write.
Memory memory_of(const dnnl_memory_desc_t& layout, const Engine& engine, const void* data) {
  dnnl_memory_t memory = nullptr;
  check(library().memory_create(&memory, &layout, engine.get(), const_cast<void*>(data)), "memory");
  return Memory(memory);
}

/// Of one shape; oneDNN keeps the code that it generates from call to call.
Primitive make_product(const dnnl_memory_desc_t& left, const dnnl_memory_desc_t& right, const dnnl_memory_desc_t& out,
                       const Engine& engine) {
  dnnl_matmul_desc_t operation;
  check(library().matmul_desc_init(&operation, &left, &right, nullptr, &out), "matmul");
  dnnl_primitive_desc_t description = nullptr;
  check(library().primitive_desc_create(&description, &operation, nullptr, engine.get(), nullptr), "matmul");
  const Description owned(description);
  dnnl_primitive_t primitive = nullptr;
  check(library().primitive_create(&primitive, description), "matmul");
  return Primitive(primitive);
}

/// A product without rows, columns or terms, which oneDNN refuses.
template <typename T>
bool is_empty(const Matrix<T>& left, const Matrix<T>& right) {
  RONDO_CHECK_EQ(left.columns, right.rows, "inner size of a product");
  return left.rows == 0 || left.columns == 0 || right.columns == 0;
}

struct Columns {
  int64_t begin = 0;
  int64_t end = 0;
};

/// Some columns of a product, by the calling thread where others compute the rest.
void multiply_columns(const Matrix<uint16_t>& left, const Matrix<uint16_t>& right, const Matrix<float>& out,
                      const Columns& columns) {
  static const Engine engine = make_engine();
  const Stream stream = make_stream(engine);
  const Matrix<uint16_t> right_part = columns_of(right, columns.begin, columns.end);
  const Matrix<float> out_part = columns_of(out, columns.begin, columns.end);
  const dnnl_memory_desc_t left_layout = layout(left, left), right_layout = layout(right_part, right);
  const dnnl_memory_desc_t out_layout = layout(out_part, out);
  const Primitive product = make_product(left_layout, right_layout, out_layout, engine);
  const Memory left_memory = memory_of(left_layout, engine, left.data);
  const Memory right_memory = memory_of(right_layout, engine, right_part.data);
  const Memory out_memory = memory_of(out_layout, engine, out_part.data);
  const std::array<dnnl_exec_arg_t, 3> arguments = {
      {{DNNL_ARG_SRC, left_memory.get()}, {DNNL_ARG_WEIGHTS, right_memory.get()}, {DNNL_ARG_DST, out_memory.get()}}};
  check(library().primitive_execute(product.get(), stream.get(), arguments.size(), arguments.data()), "matmul");
  check(library().stream_wait(stream.get()), "matmul");
}

/// Each thread takes columns of its own where there are enough for all, since oneDNN deals out rows, and every thread
/// then brings the whole right factor into its own order first: a tenth of the product's time on two threads.
int64_t columns_per_range(int64_t columns) {
  constexpr int64_t kFewest = 64, kStep = 16;
  if (columns < kFewest * threads()) return columns;
  return ((columns + threads() - 1) / threads() + kStep - 1) / kStep * kStep;
}

}  // namespace

bool available() { return library().complete; }

void multiply(const Matrix<float>& left, const Matrix<float>& right, bool add, float* out) {
  if (is_empty(left, right)) {
    if (!add) std::fill_n(out, left.rows * right.columns, 0.0F);
    return;
  }
  const auto flag = [](const Matrix<float>& matrix) { return matrix.transposed ? 'T' : 'N'; };
  const auto stride = [](const Matrix<float>& matrix) { return matrix.transposed ? matrix.rows : matrix.columns; };
  check(library().sgemm(flag(left), flag(right), left.rows, right.columns, left.columns, 1.0F, left.data, stride(left),
                        right.data, stride(right), add ? 1.0F : 0.0F, out, right.columns),
        concat("sgemm of [", left.rows, ", ", left.columns, "] by [", right.rows, ", ", right.columns, "]"));
}

void multiply(const Matrix<uint16_t>& left, const Matrix<uint16_t>& right, float* out) {
  if (is_empty(left, right)) {
    std::fill_n(out, left.rows * right.columns, 0.0F);
    return;
  }
  const Matrix<float> product{out, left.rows, right.columns};
  parallel_for(right.columns, columns_per_range(right.columns),
               [&](int64_t begin, int64_t end) { multiply_columns(left, right, product, {begin, end}); });
}

}  // namespace rondo::onednn
