#pragma once

#include <cstdint>

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

}  // namespace rondo::onednn
