#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace rondo {

/// How the dense products of fp32 layers treat their factors. Sums, biases and all that is not a product stay fp32.
enum class ProductPrecision : uint8_t {
  kFloat32,   // as they are
  kBFloat16,  // rounded to bf16 (8 bits of mantissa): twice as fast and more on processors that know it
};

/// The dense products of linear layers, forward and backward: the one place to change how they are computed. x is
/// [rows, in], weight [out, in], gradients of the output [rows, out]. Both factors have one dtype; of bf16 factors the
/// product is fp32.
///
/// fp32 on the CPU goes to the faster of two libraries: MKL on Intel's processors, oneDNN on others, which MKL keeps
/// on a slow path. Neither rounds.

/// x weight^T, plus bias (fp32 for bf16 factors) where it is defined.
at::Tensor linear_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

/// Gradient of x.
at::Tensor input_gradient(const at::Tensor& gradient, const at::Tensor& weight);

/// Gradient of the weight.
at::Tensor weight_gradient(const at::Tensor& gradient, const at::Tensor& x);

/// `x` [rows, width] as a factor of products: itself, contiguous, or rounded to the nearest bf16 (ties to even).
/// Behind the rows of a rounded factor lie zeros up to a multiple of kFactorRows, which spares products a new shape
/// for each batch.
at::Tensor as_factor(const at::Tensor& x, ProductPrecision precision);
inline constexpr int64_t kFactorRows = 16;

/// A weight [out, in] rounded to bf16 and kept in the order that products read it fastest in, from product to product:
/// what does not learn need not round its weights again and again. Made at the first product, and again after the
/// weight has changed, which its version tells; who writes to a tensor's memory past its operations must raise it
/// (bump_version). Any threads may ask at once.
class KeptWeight {
 public:
  KeptWeight();
  ~KeptWeight();

  /// Can it serve? Only bf16 products of fp32 weights on the CPU, and where oneDNN is.
  static bool serves(const at::Tensor& weight, ProductPrecision precision);

  /// x weight^T plus bias where it is defined, [rows, out] in fp32. REQUIRES: serves(weight, kBFloat16), as below.
  at::Tensor product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;

  /// gelu(x weight^T + bias) in its erf form, as a factor of products.
  at::Tensor gelu_product(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) const;

 private:
  struct Kept;
  std::unique_ptr<Kept> kept_;
};

}  // namespace rondo
