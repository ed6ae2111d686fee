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

/// The terms of rows 0 .. rows-1 in the order of the sources, in each by entry: row i is the sum of the gradients
/// terms[starts[i]], ..., terms[starts[i + 1] - 1], each times its weight.
struct TermList {
  std::vector<const void*> gradients;  // where those of all bags of all sources lie
  std::vector<int64_t> starts;         // [rows + 1]
  std::vector<uint32_t> terms;         // by row, places in `gradients`
  std::vector<double> weights;         // by row; empty: all are one
};

/// Of gradients in any memory: none is looked at. Keeps the memory of `list`.
void list_terms(std::span<const GradientSource> sources, int64_t rows, TermList& list);

/// Scalars of a type that is known at run time, fp32 or fp64. Keeps its memory.
class ScalarBuffer {
 public:
  template <typename T>
  T* resize(size_t count) {
    bytes_.resize(count * sizeof(T));
    return data<T>();
  }
  template <typename T>
  T* data() {
    return reinterpret_cast<T*>(bytes_.data());
  }
  template <typename T>
  const T* data() const {
    return reinterpret_cast<const T*>(bytes_.data());
  }

 private:
  std::vector<std::byte> bytes_;
};

/// The gradients of a few rows, where they lie. One thread's; keeps its memory.
struct GradientBlock {
  std::vector<const void*> rows;  // [n], addresses of [columns] each
  ScalarBuffer squares;           // [n], sums of the squares of each

  ScalarBuffer sums;  // memory of those that are the sum of several terms, or weighted
  std::vector<const void*> terms;
  ScalarBuffer weights;          // of `terms`
  std::vector<int64_t> offsets;  // of the terms of each sum
  std::vector<size_t> summed;    // places of the sums among `rows`
  ScalarBuffer squares_of_sums;
};

/// The gradients of rows as lists of what is to be added: sums are made for a few rows at a time, while these are in
/// the cache, instead of for all of them at once, and what is the only term of a row is used where it lies. Keeps its
/// memory.
class RowTerms {
 public:
  /// Terms of rows 0 .. rows-1 in the order of the sources, in each by entry. The gradients stay where they are: they
  /// must outlive the calls below. All of one type, fp32 or fp64, and [.., columns].
  void collect(std::span<const GradientSource> sources, int64_t rows, int64_t columns, at::ScalarType type);

  int64_t rows() const { return list_.starts.empty() ? 0 : static_cast<int64_t>(list_.starts.size()) - 1; }

  /// The gradients of rows first .. first + count - 1 and their squares. Any thread.
  void resolve(int64_t first, int64_t count, GradientBlock& block) const;

  /// sums[i] <- gradient of row first + i; `sums` [n, columns] is contiguous. Any thread.
  void sum(int64_t first, const at::Tensor& sums) const;

 private:
  template <typename T>
  void measure(std::span<const GradientSource> sources);
  template <typename T>
  void resolve_as(int64_t first, int64_t count, GradientBlock& block) const;
  template <typename T>
  void add_sum(int64_t begin, int64_t end, GradientBlock& block) const;
  template <typename T>
  void sum_of(GradientBlock& block) const;

  at::ScalarType type_ = at::kFloat;
  int64_t columns_ = 0;
  TermList list_;
  ScalarBuffer squares_;  // of list_.gradients
};

}  // namespace rondo
