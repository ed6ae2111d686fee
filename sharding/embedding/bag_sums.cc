#include "sharding/embedding/bag_sums.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "sharding/embedding/bag_kernels.h"
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

void RowTerms::collect(std::span<const GradientSource> sources, int64_t rows, at::ScalarType type) {
  starts_.assign(static_cast<size_t>(rows + 1), 0);
  for (const GradientSource& source : sources) {
    for_each_entry(source, [&](int64_t row, int64_t, int64_t) { ++starts_[static_cast<size_t>(row)]; });
  }
  std::exclusive_scan(starts_.begin(), starts_.end(), starts_.begin(), int64_t{0});
  weighted_ = std::ranges::any_of(sources, is_weighted);
  terms_.resize(static_cast<size_t>(starts_.back()));
  if (weighted_) weights_.assign(terms_.size(), 1.0);
  for (const GradientSource& source : sources) {
    RONDO_CHECK(source.gradients.scalar_type() == type && source.gradients.stride(1) == 1);
    with_type(type, [&]<typename T>(T) { add<T>(source); });
  }
  // Each start has moved to the next one's.
  std::copy_backward(starts_.begin(), starts_.end() - 1, starts_.end());
  starts_.front() = 0;
}

template <typename T>
void RowTerms::add(const GradientSource& source) {
  const T* const gradients = source.gradients.const_data_ptr<T>();
  const int64_t stride = source.gradients.stride(0);
  if (!is_weighted(source)) {
    for_each_entry(source, [&](int64_t row, int64_t bag, int64_t) {
      terms_[static_cast<size_t>(starts_[static_cast<size_t>(row)]++)] = gradients + bag * stride;
    });
    return;
  }
  const T* const weights = source.bags->weights.const_data_ptr<T>();
  for_each_entry(source, [&](int64_t row, int64_t bag, int64_t entry) {
    const auto at = static_cast<size_t>(starts_[static_cast<size_t>(row)]++);
    terms_[at] = gradients + bag * stride;
    weights_[at] = weights[entry];
  });
}

void RowTerms::sum(int64_t first, const at::Tensor& sums) const {
  with_type(sums.scalar_type(), [&]<typename T>(T) { sum_of<T>(first, sums); });
}

template <typename T>
void RowTerms::sum_of(int64_t first, const at::Tensor& sums) const {
  const int64_t begin = starts_[static_cast<size_t>(first)];
  std::vector<T> weights;
  if (weighted_) {
    const auto last = weights_.begin() + starts_[static_cast<size_t>(first + sums.size(0))];
    weights.assign(weights_.begin() + begin, last);
  }
  sum_bag_rows<T>({.rows = reinterpret_cast<const T* const*>(terms_.data() + begin),
                   .weights = weighted_ ? weights.data() : nullptr,
                   .offsets = starts_.data() + first,
                   .bags = sums.size(0),
                   .dim = sums.size(1)},
                  sums.mutable_data_ptr<T>(), sums.size(1));
}

}  // namespace rondo
