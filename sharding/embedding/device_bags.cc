#include "sharding/embedding/device_bags.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/embedding/row_types.h"

namespace rondo {
namespace {

template <typename T>
std::span<const T> span_of(const at::Tensor& values) {
  return {values.const_data_ptr<T>(), static_cast<size_t>(values.numel())};
}

}  // namespace

void sum_terms(DeviceStaging& staging, const TermList& terms, const at::Tensor& sums) {
  const int64_t rows = static_cast<int64_t>(terms.starts.size()) - 1;
  RONDO_CHECK(sums.is_contiguous() && sums.size(0) == rows, "shape ", sums.sizes());
  if (rows == 0) return;
  with_type(sums.scalar_type(), [&]<typename T>(T) {
    // Addresses on the device, of several matrices: as distances from the first.
    const auto* const base = terms.gradients.empty() ? nullptr : static_cast<const std::byte*>(terms.gradients.front());
    const auto place_of = [&](uint32_t term) {
      const auto bytes =
          static_cast<int64_t>(reinterpret_cast<uintptr_t>(terms.gradients[term]) - reinterpret_cast<uintptr_t>(base));
      return bytes / static_cast<int64_t>(sizeof(T));
    };
    std::vector<int64_t> places(terms.terms.size());
    std::ranges::transform(terms.terms, places.begin(), place_of);
    const std::vector<T> weights(terms.weights.begin(), terms.weights.end());
    staging.launch(SegmentSums<T>{.rows = reinterpret_cast<const T*>(base),
                                  .starts = staging.upload(std::span<const int64_t>(terms.starts)),
                                  .positions = staging.upload(std::span<const int64_t>(places)),
                                  .weights = weights.empty() ? nullptr : staging.upload(std::span<const T>(weights)),
                                  .sums = rows,
                                  .dim = sums.size(1),
                                  .out = sums.mutable_data_ptr<T>(),
                                  .stride = 1});
  });
}

at::Tensor sum_bags(DeviceStaging& staging, const at::Tensor& rows, const BagList& bags) {
  RONDO_CHECK(rows.is_contiguous() && rows.dim() == 2, "shape ", rows.sizes());
  at::Tensor sums = at::empty({bags.bags(), rows.size(1)}, rows.options().requires_grad(false));
  if (bags.bags() == 0) return sums;
  std::vector<int64_t> places(static_cast<size_t>(span_of<int64_t>(bags.offsets).back()));
  std::iota(places.begin(), places.end(), bags.first);
  with_type(rows.scalar_type(), [&]<typename T>(T) {
    const auto listed = bags.positions.defined() ? span_of<int64_t>(bags.positions) : std::span<const int64_t>(places);
    staging.launch(
        SegmentSums<T>{.rows = rows.const_data_ptr<T>(),
                       .starts = staging.upload(span_of<int64_t>(bags.offsets)),
                       .positions = staging.upload(listed),
                       .weights = bags.weights.defined() ? staging.upload(span_of<T>(bags.weights)) : nullptr,
                       .sums = bags.bags(),
                       .dim = rows.size(1),
                       .out = sums.mutable_data_ptr<T>()});
  });
  return sums;
}

at::Tensor bag_row_gradient(DeviceStaging& staging, const at::Tensor& bag_gradient, const BagList& bags, int64_t rows) {
  const GradientSource source{bag_gradient, &bags, {}};
  at::Tensor sums = at::empty({rows, bag_gradient.size(1)}, bag_gradient.options());
  TermList terms;
  list_terms({&source, 1}, rows, terms);
  sum_terms(staging, terms, sums);
  return sums;
}

}  // namespace rondo
