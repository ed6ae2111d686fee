#include "trainer/nn/products.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <mutex>
#include <optional>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "trainer/nn/onednn.h"
#include "trainer/nn/row_kernels.h"

namespace rondo {
namespace {

constexpr int64_t kElementsPerRange = 1 << 15;

/// A clear rule instead of a stopwatch: two runs on one machine give the same bits.
bool mkl_is_faster() { return __builtin_cpu_is("intel") != 0; }

bool by_onednn(const at::Tensor& x) {
  return x.scalar_type() == at::kFloat && x.is_cpu() && !mkl_is_faster() && onednn::available();
}

onednn::Matrix<float> matrix(const at::Tensor& x) { return {x.const_data_ptr<float>(), x.size(0), x.size(1)}; }

/// Rows with the zeros behind them.
int64_t padded(int64_t rows) { return (rows + kFactorRows - 1) / kFactorRows * kFactorRows; }

const uint16_t* bits(const at::Tensor& x) { return reinterpret_cast<const uint16_t*>(x.const_data_ptr()); }

/// A factor of as_factor, zeros included.
onednn::Matrix<uint16_t> padded_matrix(const at::Tensor& x) {
  const int64_t rows = padded(x.size(0)), in_storage = static_cast<int64_t>(x.storage().nbytes() / x.element_size());
  RONDO_CHECK_LE(x.storage_offset() + rows * x.size(1), in_storage, "a bf16 factor that as_factor did not make");
  return {bits(x), rows, x.size(1)};
}

template <typename T>
onednn::Matrix<T> transposed(const onednn::Matrix<T>& matrix) {
  return {matrix.data, matrix.columns, matrix.rows, !matrix.transposed};
}

at::Tensor multiply(const onednn::Matrix<float>& left, const onednn::Matrix<float>& right, const at::Tensor& bias) {
  at::Tensor out = at::empty({left.rows, right.columns}, at::kFloat);
  if (bias.defined()) out.copy_(bias.detach().expand_as(out));
  onednn::multiply(left, right, bias.defined(), out.mutable_data_ptr<float>());
  return out;
}

/// In fp32, by LibTorch.
at::Tensor widened(const onednn::Matrix<uint16_t>& matrix) {
  const int64_t stored[] = {matrix.transposed ? matrix.columns : matrix.rows,
                            matrix.transposed ? matrix.rows : matrix.columns};
  const at::Tensor bits = at::from_blob(const_cast<uint16_t*>(matrix.data), stored, at::kBFloat16);
  return matrix.transposed ? bits.to(at::kFloat).t() : bits.to(at::kFloat);
}

/// The first `rows` rows of a product of factors in bf16.
at::Tensor multiply(const onednn::Matrix<uint16_t>& left, const onednn::Matrix<uint16_t>& right, int64_t rows) {
  if (!onednn::available()) return at::mm(widened(left), widened(right)).narrow(0, 0, rows);
  at::Tensor out = at::empty({left.rows, right.columns}, at::kFloat);
  onednn::multiply(left, right, out.mutable_data_ptr<float>());
  return out.narrow(0, 0, rows);
}

}  // namespace

at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (x.scalar_type() == at::kBFloat16) {
    const onednn::Matrix<uint16_t> factor{bits(weight), weight.size(0), weight.size(1)};
    const at::Tensor product = multiply(padded_matrix(x), transposed(factor), x.size(0));
    return bias.defined() ? product.add_(bias.detach()) : product;
  }
  if (by_onednn(x)) return multiply(matrix(x), transposed(matrix(weight)), bias);
  return at::linear(x, weight, bias.defined() ? std::optional(bias) : std::nullopt);
}

at::Tensor input_gradient(const at::Tensor& gradient, const at::Tensor& weight) {
  if (gradient.scalar_type() == at::kBFloat16) {
    const onednn::Matrix<uint16_t> factor{bits(weight), weight.size(0), weight.size(1)};
    return multiply(padded_matrix(gradient), factor, gradient.size(0));
  }
  return by_onednn(gradient) ? multiply(matrix(gradient), matrix(weight), {}) : at::mm(gradient, weight);
}

at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& x) {
  if (gradient.scalar_type() == at::kBFloat16) {
    return multiply(transposed(padded_matrix(gradient)), padded_matrix(x), gradient.size(1));
  }
  return by_onednn(gradient) ? multiply(transposed(matrix(gradient)), matrix(x), {}) : at::mm(gradient.t(), x);
}

at::Tensor as_factor(const at::Tensor& x, ProductPrecision precision) {
  const bool rounds = precision == ProductPrecision::kBFloat16 && x.scalar_type() == at::kFloat && x.is_cpu();
  if (!rounds) return x.contiguous();
  const at::Tensor from = x.detach().contiguous();
  const int64_t rows = x.size(0), width = x.size(1);
  at::Tensor factor = at::empty({padded(rows), width}, at::kBFloat16);
  auto* out = reinterpret_cast<uint16_t*>(factor.mutable_data_ptr());
  parallel_for(rows * width, kElementsPerRange, [&](int64_t begin, int64_t end) {
    kernels::round_to_bfloat16(from.const_data_ptr<float>() + begin, end - begin, out + begin);
  });
  std::fill(out + rows * width, out + factor.numel(), uint16_t{0});
  return factor.narrow(0, 0, rows);
}

struct KeptWeight::Kept {
  std::mutex mutex;
  const void* from = nullptr;
  uint32_t version = 0;
  std::shared_ptr<const onednn::PackedMatrix> packed;  // shared with products under way

  std::shared_ptr<const onednn::PackedMatrix> of(const at::Tensor& weight) {
    const std::scoped_lock lock(mutex);
    const uint32_t now = weight._version();
    if (packed == nullptr || from != weight.const_data_ptr() || version != now) {
      const at::Tensor rounded = as_factor(weight, ProductPrecision::kBFloat16);
      packed = std::make_shared<onednn::PackedMatrix>(
          onednn::Matrix<uint16_t>{bits(rounded), weight.size(1), weight.size(0), /*transposed=*/true});
      from = weight.const_data_ptr();
      version = now;
    }
    return packed;
  }
};

KeptWeight::KeptWeight() : kept_(std::make_unique<Kept>()) {}
KeptWeight::~KeptWeight() = default;

bool KeptWeight::serves(const at::Tensor& weight, ProductPrecision precision) {
  return precision == ProductPrecision::kBFloat16 && weight.scalar_type() == at::kFloat && weight.is_cpu() &&
         weight.numel() > 0 && onednn::available();
}

at::Tensor KeptWeight::product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const {
  const at::Tensor factor = as_factor(x, ProductPrecision::kBFloat16);
  const onednn::Matrix<uint16_t> left = padded_matrix(factor);
  at::Tensor out = at::empty({left.rows, weight.size(0)}, at::kFloat);
  if (left.rows > 0) {
    const onednn::Finish finish{.bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr};
    onednn::multiply(left, *kept_->of(weight), finish, out.mutable_data_ptr<float>());
  }
  return out.narrow(0, 0, x.size(0));
}

at::Tensor KeptWeight::gelu_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const {
  const at::Tensor factor = as_factor(x, ProductPrecision::kBFloat16);
  const onednn::Matrix<uint16_t> left = padded_matrix(factor);
  at::Tensor out = at::empty({left.rows, weight.size(0)}, at::kBFloat16);
  if (left.rows > 0) {
    onednn::multiply(left, *kept_->of(weight), {.bias = bias.const_data_ptr<float>(), .gelu = true},
                     reinterpret_cast<uint16_t*>(out.mutable_data_ptr()));
  }
  return out.narrow(0, 0, x.size(0));
}

}  // namespace rondo
