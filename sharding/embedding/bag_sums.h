#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sharding/embedding/routed_ids.h"
#include "sharding/embedding/row_store.h"

namespace rondo {

/// out[b] <- sum of bag b over the rows of `slots`, where they lie in the store: bit for bit what gathering them and
/// sum_bags give. `out` [bags, columns] has contiguous rows; -1 adds nothing.
void pool_slots(const RowStore& store, std::span<const int64_t> slots, const BagList& bags, const at::Tensor& out);

/// What one source says of rows: the gradient of bag b is that of each of its entries, times the entry's weight.
struct GradientSource {
  at::Tensor gradients;  // [bags, columns], rows contiguous

  /// Over the keys of the source; null: key i has gradient i.
  const BagList* bags = nullptr;

  /// Row of each key; empty: key i is row i.
  std::span<const int64_t> row_of_key;
};

/// The gradients of rows as lists of what is to be added: sums are made for a few rows at a time, while these are in
/// the cache, instead of for all of them at once. Keeps its memory.
class RowTerms {
 public:
  /// Terms of rows 0 .. rows-1 in the order of the sources, in each by entry. The gradients stay where they are: they
  /// must outlive the sums. All of one type, fp32 or fp64.
  void collect(std::span<const GradientSource> sources, int64_t rows, at::ScalarType type);

  int64_t rows() const { return starts_.empty() ? 0 : static_cast<int64_t>(starts_.size()) - 1; }

  /// sums[i] <- gradient of row first + i; `sums` [n, columns] is contiguous. Any thread.
  void sum(int64_t first, const at::Tensor& sums) const;

 private:
  template <typename T>
  void add(const GradientSource& source);
  template <typename T>
  void sum_of(int64_t first, const at::Tensor& sums) const;

  bool weighted_ = false;
  std::vector<int64_t> starts_;     // [rows + 1]
  std::vector<const void*> terms_;  // by row
  std::vector<double> weights_;     // by row, when some are not one
};

}  // namespace rondo
