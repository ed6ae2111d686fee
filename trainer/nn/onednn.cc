#include "trainer/nn/onednn.h"

// The C interface: the C++ one is inline, and LibTorch carries that of another version.
#include <dlfcn.h>
#include <dnnl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>
#include <string_view>
#include <type_traits>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/parallel.h"

namespace rondo::onednn {
namespace {

// What is called, by the names of the C interface.
#define RONDO_ONEDNN_FUNCTIONS(apply)                                                                                  \
  apply(sgemm) apply(engine_create) apply(engine_destroy) apply(stream_create) apply(stream_destroy)                   \
      apply(stream_wait) apply(memory_desc_init_by_strides) apply(memory_desc_init_by_tag) apply(memory_desc_get_size) \
          apply(memory_create) apply(memory_destroy) apply(matmul_desc_init) apply(primitive_desc_create)              \
              apply(primitive_desc_query_md) apply(primitive_desc_destroy) apply(primitive_create)                     \
                  apply(primitive_destroy) apply(primitive_execute) apply(reorder_primitive_desc_create)               \
                      apply(primitive_attr_create) apply(primitive_attr_destroy) apply(primitive_attr_set_post_ops)    \
                          apply(post_ops_create) apply(post_ops_destroy) apply(post_ops_append_eltwise)

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
using Attributes = Owned<dnnl_primitive_attr_t, &Library::primitive_attr_destroy>;
using PostOperations = Owned<dnnl_post_ops_t, &Library::post_ops_destroy>;

Engine make_engine() {
  dnnl_engine_t engine = nullptr;
  check(library().engine_create(&engine, dnnl_cpu, 0), "engine");
  return Engine(engine);
}

/// The processor; any threads may use it.
const Engine& engine() {
  static const Engine processor = make_engine();
  return processor;
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

template <typename T>
dnnl_memory_desc_t plain_layout(int64_t rows, int64_t columns) {
  const Matrix<T> matrix{nullptr, rows, columns};
  return layout(matrix, matrix);
}

/// A bf16 factor in whatever order the library likes.
dnnl_memory_desc_t any_layout(int64_t rows, int64_t columns) {
  const dnnl_dims_t sizes = {rows, columns};
  dnnl_memory_desc_t result;
  check(library().memory_desc_init_by_tag(&result, 2, sizes, dnnl_bf16, dnnl_format_tag_any), "layout");
  return result;
}

/// oneDNN's interface takes no pointer to const; what it reads it does not write.
Memory memory_of(const dnnl_memory_desc_t& layout, const void* data) {
  dnnl_memory_t memory = nullptr;
  check(library().memory_create(&memory, &layout, engine().get(), const_cast<void*>(data)), "memory");
  return Memory(memory);
}

/// The layouts of a product's factors, bias (none: null) and result.
struct ProductLayouts {
  dnnl_memory_desc_t left, right, out;
  const dnnl_memory_desc_t* bias = nullptr;
};

Description describe_product(const ProductLayouts& layouts, const_dnnl_primitive_attr_t attributes) {
  dnnl_matmul_desc_t operation;
  check(library().matmul_desc_init(&operation, &layouts.left, &layouts.right, layouts.bias, &layouts.out), "matmul");
  dnnl_primitive_desc_t description = nullptr;
  check(library().primitive_desc_create(&description, &operation, attributes, engine().get(), nullptr), "matmul");
  return Description(description);
}

/// GELU behind a product.
const Attributes& gelu_attributes() {
  static const Attributes made = [] {
    dnnl_post_ops_t operations = nullptr;
    check(library().post_ops_create(&operations), "post-operations");
    const PostOperations owned(operations);
    check(library().post_ops_append_eltwise(operations, 1.0F, dnnl_eltwise_gelu_erf, 0.0F, 0.0F), "gelu");
    dnnl_primitive_attr_t attributes = nullptr;
    check(library().primitive_attr_create(&attributes), "attributes");
    Attributes result(attributes);
    check(library().primitive_attr_set_post_ops(attributes, operations), "gelu");
    return result;
  }();
  return made;
}

/// oneDNN keeps the code that it generates from call to call.
Primitive make_primitive(const Description& description) {
  dnnl_primitive_t primitive = nullptr;
  check(library().primitive_create(&primitive, description.get()), "primitive");
  return Primitive(primitive);
}

/// Runs it on the calling thread's behalf.
void execute(const Primitive& primitive, std::span<const dnnl_exec_arg_t> arguments) {
  const Stream stream = make_stream(engine());
  check(
      library().primitive_execute(primitive.get(), stream.get(), static_cast<int>(arguments.size()), arguments.data()),
      "primitive");
  check(library().stream_wait(stream.get()), "primitive");
}

struct Freed {
  void operator()(std::byte* bytes) const noexcept { std::free(bytes); }
};

std::unique_ptr<std::byte[], Freed> allocate(size_t bytes) {
  constexpr size_t kAlignment = 64;
  void* block = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (block == nullptr) throw std::bad_alloc();
  return std::unique_ptr<std::byte[], Freed>(static_cast<std::byte*>(block));
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
  const Matrix<uint16_t> right_part = columns_of(right, columns.begin, columns.end);
  const Matrix<float> out_part = columns_of(out, columns.begin, columns.end);
  const ProductLayouts layouts{
      .left = layout(left, left), .right = layout(right_part, right), .out = layout(out_part, out)};
  const Memory left_memory = memory_of(layouts.left, left.data);
  const Memory right_memory = memory_of(layouts.right, right_part.data);
  const Memory out_memory = memory_of(layouts.out, out_part.data);
  execute(make_primitive(describe_product(layouts, nullptr)),
          std::array<dnnl_exec_arg_t, 3>{{{DNNL_ARG_SRC, left_memory.get()},
                                          {DNNL_ARG_WEIGHTS, right_memory.get()},
                                          {DNNL_ARG_DST, out_memory.get()}}});
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

struct PackedMatrix::Impl {
  dnnl_memory_desc_t layout;
  std::unique_ptr<std::byte[], Freed> bytes;
  int64_t rows, columns;
};

PackedMatrix::PackedMatrix(const Matrix<uint16_t>& matrix) {
  RONDO_CHECK(matrix.rows > 0 && matrix.columns > 0, "an empty factor");
  constexpr int64_t kRows = 64;  // of the left factor: the order does not depend on them
  const ProductLayouts wanted{.left = plain_layout<uint16_t>(kRows, matrix.rows),
                              .right = any_layout(matrix.rows, matrix.columns),
                              .out = plain_layout<float>(kRows, matrix.columns)};
  const Description product = describe_product(wanted, nullptr);
  const dnnl_memory_desc_t from = layout(matrix, matrix);
  const dnnl_memory_desc_t to = *library().primitive_desc_query_md(product.get(), dnnl_query_weights_md, 0);
  impl_.reset(new Impl{to, allocate(library().memory_desc_get_size(&to)), matrix.rows, matrix.columns});
  dnnl_primitive_desc_t reorder = nullptr;
  check(library().reorder_primitive_desc_create(&reorder, &from, engine().get(), &to, engine().get(), nullptr),
        "reorder");
  const Memory from_memory = memory_of(from, matrix.data), to_memory = memory_of(to, impl_->bytes.get());
  execute(make_primitive(Description(reorder)),
          std::array<dnnl_exec_arg_t, 2>{{{DNNL_ARG_FROM, from_memory.get()}, {DNNL_ARG_TO, to_memory.get()}}});
}

PackedMatrix::~PackedMatrix() = default;

class PackedProduct {
 public:
  template <typename T>
  static void run(const Matrix<uint16_t>& left, const PackedMatrix& right, const Finish& finish, T* out) {
    RONDO_CHECK_EQ(left.columns, right.impl_->rows, "inner size of a product");
    const int64_t columns = right.impl_->columns;
    const dnnl_memory_desc_t bias = plain_layout<float>(1, columns);
    const ProductLayouts layouts{.left = layout(left, left),
                                 .right = right.impl_->layout,
                                 .out = plain_layout<T>(left.rows, columns),
                                 .bias = finish.bias != nullptr ? &bias : nullptr};
    const Memory left_memory = memory_of(layouts.left, left.data);
    const Memory right_memory = memory_of(layouts.right, right.impl_->bytes.get());
    const Memory out_memory = memory_of(layouts.out, out), bias_memory = memory_of(bias, finish.bias);
    const std::array<dnnl_exec_arg_t, 4> arguments = {{{DNNL_ARG_SRC, left_memory.get()},
                                                       {DNNL_ARG_WEIGHTS, right_memory.get()},
                                                       {DNNL_ARG_DST, out_memory.get()},
                                                       {DNNL_ARG_BIAS, bias_memory.get()}}};
    execute(make_primitive(describe_product(layouts, finish.gelu ? gelu_attributes().get() : nullptr)),
            std::span(arguments).first(finish.bias != nullptr ? 4 : 3));
  }
};

template <typename T>
void multiply(const Matrix<uint16_t>& left, const PackedMatrix& right, const Finish& finish, T* out) {
  PackedProduct::run(left, right, finish, out);
}
template void multiply(const Matrix<uint16_t>&, const PackedMatrix&, const Finish&, float*);
template void multiply(const Matrix<uint16_t>&, const PackedMatrix&, const Finish&, uint16_t*);

}  // namespace rondo::onednn
