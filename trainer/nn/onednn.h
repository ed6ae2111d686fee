#pragma once

#include <cstdint>
#include <memory>

/// Dense products by oneDNN; its header appears in onednn.cc alone.
///
/// LibTorch carries a oneDNN of another version, and a few symbols of both have one name: linked in the usual way, one
/// of the two would run the other's code. So the library is opened at run time in a scope of its own.
namespace rondo::onednn {

/// Can it be used? Not without the library, nor under a sanitizer, whose run time refuses such scopes.
bool available();

/// A matrix [rows, columns] in memory: row-major, or `transposed` ([columns, rows] row-major).
template <typename T>
struct Matrix {
  const T* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  bool transposed = false;
};

/// out = left right, or out += left right where `add`; `out` is [left.rows, right.columns], row-major. fp32 on every
/// processor: nothing is rounded further. REQUIRES: available().
void multiply(const Matrix<float>& left, const Matrix<float>& right, bool add, float* out);

/// out = left right with factors in bf16 (their bits) and sums in fp32. The first product of a shape costs some tenths
/// of a millisecond more than the next ones. REQUIRES: available().
void multiply(const Matrix<uint16_t>& left, const Matrix<uint16_t>& right, float* out);

/// A right factor in the order that the library reads it fastest in, for many products. Any threads may read it.
class PackedMatrix {
 public:
  /// Copies `matrix`. REQUIRES: available(), and a matrix that is not empty.
  explicit PackedMatrix(const Matrix<uint16_t>& matrix);
  ~PackedMatrix();

 private:
  friend class PackedProduct;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// What is done with a sum before it is written.
struct Finish {
  const float* bias = nullptr;  // [columns]; null: none
  bool gelu = false;            // in its erf form, after the bias
};

/// out = finish(left right) with sums in fp32; T float, or uint16_t: rounded to bf16. REQUIRES: left has rows.
template <typename T>
void multiply(const Matrix<uint16_t>& left, const PackedMatrix& right, const Finish& finish, T* out);

}  // namespace rondo::onednn
