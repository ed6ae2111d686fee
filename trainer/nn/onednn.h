#pragma once

#include <cstdint>

/// Dense products by oneDNN; its header appears in onednn.cc alone.
namespace rondo::onednn {

/// A matrix [rows, columns] in memory: row-major, or `transposed` ([columns, rows] row-major).
template <typename T>
struct Matrix {
  const T* data = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;
  bool transposed = false;
};

/// out = left right, or out += left right where `add`; `out` is [left.rows, right.columns], row-major. fp32 on every
/// processor: nothing is rounded further.
void multiply(const Matrix<float>& left, const Matrix<float>& right, bool add, float* out);

/// out = left right with factors in bf16 (their bits) and sums in fp32. The first product of a shape costs some tenths
/// of a millisecond more than the next ones.
void multiply(const Matrix<uint16_t>& left, const Matrix<uint16_t>& right, float* out);

}  // namespace rondo::onednn
