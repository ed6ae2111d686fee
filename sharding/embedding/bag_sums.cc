#include "sharding/embedding/bag_sums.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/copy_bytes.h"
#include "sharding/base/parallel.h"
#include "sharding/embedding/bag_kernels.h"
#include "sharding/embedding/row_kernels.h"
#include "sharding/embedding/row_types.h"

namespace rondo {
namespace {

constexpr int64_t kGrainEntries = 1024;  // of bags that one thread sums at a time

/// Which row each entry of some bags is.
class EntryRows {
 public:
  explicit EntryRows(const BagList& bags)
      : positions_(bags.positions.defined() ? bags.positions.const_data_ptr<int64_t>() : nullptr), first_(bags.first) {}

  int64_t operator[](int64_t entry) const { return positions_ == nullptr ? first_ + entry : positions_[entry]; }

 private:
  const int64_t* positions_;
  int64_t first_;
};

/// locate(first, rows) finds where the rows of entries first, first + 1, ... lie.
template <typename T, typename Locate>
void pool(const Locate& locate, const BagList& bags, const at::Tensor& out) {
  const int64_t* const offsets = bags.offsets.const_data_ptr<int64_t>();
  const int64_t entries = std::max<int64_t>(1, offsets[bags.bags()]);
  const T* const weights = bags.weights.defined() ? bags.weights.const_data_ptr<T>() : nullptr;
  T* const sums = out.mutable_data_ptr<T>();
  const int64_t grain = std::max<int64_t>(1, kGrainEntries * bags.bags() / entries);
  parallel_for(bags.bags(), grain, [&](int64_t begin, int64_t end) {
    const int64_t first = offsets[begin], last = offsets[end];
    std::vector<const T*> terms(static_cast<size_t>(last - first));
    locate(first, std::span(terms));
    sum_bag_rows<T>({.rows = terms.data(),
                     .weights = weights == nullptr ? nullptr : weights + first,
                     .offsets = offsets + begin,
                     .bags = end - begin,
                     .dim = out.size(1)},
                    sums + begin * out.stride(0), out.stride(0));
  });
}

/// Calls body(row, bag, entry) for each entry of a source, in order.
template <typename Body>
void for_each_entry(const GradientSource& source, const Body& body) {
  const auto row_of = [&](int64_t key) {
    return source.row_of_key.empty() ? key : source.row_of_key[static_cast<size_t>(key)];
  };
  if (source.bags == nullptr) {
    for (int64_t i = 0; i < source.gradients.size(0); ++i) body(row_of(i), i, i);
    return;
  }
  const int64_t* const offsets = source.bags->offsets.const_data_ptr<int64_t>();
  const EntryRows key_of(*source.bags);
  for (int64_t bag = 0; bag < source.bags->bags(); ++bag) {
    for (int64_t i = offsets[bag]; i < offsets[bag + 1]; ++i) body(row_of(key_of[i]), bag, i);
  }
}

/// Are values in memory of the type they travel in?
bool lies_as(RowType row, at::ScalarType type) {
  return (row == RowType::kFloat32 && type == at::kFloat) || (row == RowType::kFloat64 && type == at::kDouble);
}

bool is_weighted(const GradientSource& source) { return source.bags != nullptr && source.bags->weights.defined(); }

}  // namespace

void pool_slots(const RowStore& store, std::span<const int64_t> slots, const BagList& bags, const at::Tensor& out) {
  RONDO_CHECK(out.size(0) == bags.bags() && out.size(1) == store.columns().count() && out.stride(1) == 1);
  with_type(out.scalar_type(), [&]<typename T>(T) {
    const EntryRows row_of(bags);
    if (lies_as(store.spec().row_type, out.scalar_type())) {
      const std::vector<T> nothing(static_cast<size_t>(out.size(1)));
      const auto in_store = [&](int64_t first, std::span<const T*> rows) {
        const std::span<const void*> addresses(reinterpret_cast<const void**>(rows.data()), rows.size());
        if (!bags.positions.defined()) {
          return store.addresses(slots.subspan(static_cast<size_t>(row_of[first]), rows.size()), nothing.data(),
                                 addresses);
        }
        std::vector<int64_t> asked(rows.size());
        for (size_t i = 0; i < rows.size(); ++i)
          asked[i] = slots[static_cast<size_t>(row_of[first + static_cast<int64_t>(i)])];
        store.addresses(asked, nothing.data(), addresses);
      };
      return pool<T>(in_store, bags, out);
    }
    at::Tensor values = at::empty({static_cast<int64_t>(slots.size()), out.size(1)}, out.scalar_type());
    store.gather(slots, values);
    const T* const gathered = values.const_data_ptr<T>();
    const auto in_copy = [&](int64_t first, std::span<const T*> rows) {
      for (size_t i = 0; i < rows.size(); ++i) {
        rows[i] = gathered + row_of[first + static_cast<int64_t>(i)] * out.size(1);
      }
    };
    pool<T>(in_copy, bags, out);
  });
}

void list_terms(std::span<const GradientSource> sources, int64_t rows, TermList& list) {
  std::vector<int64_t>& starts = list.starts;
  starts.assign(static_cast<size_t>(rows + 1), 0);
  list.gradients.clear();
  for (const GradientSource& source : sources) {
    for_each_entry(source, [&](int64_t row, int64_t, int64_t) { ++starts[static_cast<size_t>(row)]; });
  }
  std::exclusive_scan(starts.begin(), starts.end(), starts.begin(), int64_t{0});
  list.terms.resize(static_cast<size_t>(starts.back()));
  list.weights.clear();
  if (std::ranges::any_of(sources, is_weighted)) list.weights.assign(list.terms.size(), 1.0);
  for (const GradientSource& source : sources) {
    const auto before = static_cast<int64_t>(list.gradients.size()), count = source.gradients.size(0);
    RONDO_CHECK_LE(before + count, int64_t{std::numeric_limits<uint32_t>::max()});
    const auto* const first = static_cast<const std::byte*>(source.gradients.const_data_ptr());
    const int64_t stride = source.gradients.stride(0) * static_cast<int64_t>(source.gradients.element_size());
    for (int64_t i = 0; i < count; ++i) list.gradients.push_back(first + i * stride);
    with_type(source.gradients.scalar_type(), [&]<typename T>(T) {
      const T* const weights = is_weighted(source) ? source.bags->weights.const_data_ptr<T>() : nullptr;
      for_each_entry(source, [&](int64_t row, int64_t bag, int64_t entry) {
        const auto at = static_cast<size_t>(starts[static_cast<size_t>(row)]++);
        list.terms[at] = static_cast<uint32_t>(before + bag);
        if (weights != nullptr) list.weights[at] = static_cast<double>(weights[entry]);
      });
    });
  }
  // Each start has moved to the next one's.
  std::copy_backward(starts.begin(), starts.end() - 1, starts.end());
  starts.front() = 0;
}

void RowTerms::collect(std::span<const GradientSource> sources, int64_t rows, int64_t columns, at::ScalarType type) {
  type_ = type;
  columns_ = columns;
  for (const GradientSource& source : sources) {
    RONDO_CHECK(source.gradients.scalar_type() == type && source.gradients.stride(1) == 1 &&
                source.gradients.size(1) == columns);
  }
  list_terms(sources, rows, list_);
  with_type(type, [&]<typename T>(T) { measure<T>(sources); });
}

template <typename T>
void RowTerms::measure(std::span<const GradientSource> sources) {
  T* squares = squares_.resize<T>(list_.gradients.size());
  for (const GradientSource& source : sources) {
    const T* const gradients = source.gradients.const_data_ptr<T>();
    const int64_t stride = source.gradients.stride(0), count = source.gradients.size(0);
    if (stride == columns_) {
      sums_of_squares(gradients, count, columns_, squares);
    } else {
      for (int64_t i = 0; i < count; ++i) sums_of_squares(gradients + i * stride, 1, columns_, squares + i);
    }
    squares += count;
  }
}

void RowTerms::resolve(int64_t first, int64_t count, GradientBlock& block) const {
  with_type(type_, [&]<typename T>(T) { resolve_as<T>(first, count, block); });
}

template <typename T>
void RowTerms::resolve_as(int64_t first, int64_t count, GradientBlock& block) const {
  block.rows.resize(static_cast<size_t>(count));
  block.terms.clear();
  block.offsets.assign(1, 0);
  block.summed.clear();
  T* const squares = block.squares.resize<T>(block.rows.size());
  const T* const squares_of_terms = squares_.data<T>();
  const bool weighted = !list_.weights.empty();
  const int64_t* const starts = list_.starts.data() + first;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t begin = starts[i], end = starts[i + 1];
    if (end == begin + 1 && (!weighted || list_.weights[static_cast<size_t>(begin)] == 1.0)) {
      const uint32_t term = list_.terms[static_cast<size_t>(begin)];
      block.rows[static_cast<size_t>(i)] = list_.gradients[term];
      squares[i] = squares_of_terms[term];
    } else {
      add_sum<T>(begin, end, block);
      block.summed.push_back(static_cast<size_t>(i));
    }
  }
  sum_of<T>(block);
}

/// Lists terms [begin, end) as one more sum.
template <typename T>
void RowTerms::add_sum(int64_t begin, int64_t end, GradientBlock& block) const {
  const size_t before = block.terms.size();
  for (int64_t term = begin; term < end; ++term) {
    block.terms.push_back(list_.gradients[list_.terms[static_cast<size_t>(term)]]);
  }
  if (!list_.weights.empty()) {
    T* const weights = block.weights.resize<T>(block.terms.size());
    std::copy(list_.weights.begin() + begin, list_.weights.begin() + end, weights + before);
  }
  block.offsets.push_back(static_cast<int64_t>(block.terms.size()));
}

/// Adds up what is the sum of several terms.
template <typename T>
void RowTerms::sum_of(GradientBlock& block) const {
  const auto count = static_cast<int64_t>(block.summed.size());
  T* const sums = block.sums.resize<T>(static_cast<size_t>(count * columns_));
  T* const squares = block.squares_of_sums.resize<T>(block.summed.size());
  sum_bag_rows<T>({.rows = reinterpret_cast<const T* const*>(block.terms.data()),
                   .weights = list_.weights.empty() ? nullptr : block.weights.data<T>(),
                   .offsets = block.offsets.data(),
                   .bags = count,
                   .dim = columns_},
                  sums, columns_);
  sums_of_squares(sums, count, columns_, squares);
  for (size_t k = 0; k < block.summed.size(); ++k) {
    block.rows[block.summed[k]] = sums + static_cast<int64_t>(k) * columns_;
    block.squares.data<T>()[block.summed[k]] = squares[k];
  }
}

void RowTerms::sum(int64_t first, const at::Tensor& sums) const {
  GradientBlock block;
  resolve(first, sums.size(0), block);
  const size_t bytes = static_cast<size_t>(columns_) * sums.element_size();
  auto* const out = static_cast<std::byte*>(sums.mutable_data_ptr());
  for (size_t i = 0; i < block.rows.size(); ++i) copy_bytes(block.rows[i], bytes, out + i * bytes);
}

}  // namespace rondo
