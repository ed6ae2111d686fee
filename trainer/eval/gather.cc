#include "trainer/eval/gather.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <numeric>

namespace rondo {
namespace {

template <typename T>
std::vector<T> gather(Communicator& comm, std::span<const T> mine, at::ScalarType type, std::string_view what) {
  const auto rows = gather_sizes(comm, static_cast<int64_t>(mine.size()), what);
  at::Tensor input = at::empty({static_cast<int64_t>(mine.size())}, type);
  std::copy(mine.begin(), mine.end(), input.mutable_data_ptr<T>());
  const at::Tensor all = gather_rows(comm, input, rows, what);
  const T* values = all.const_data_ptr<T>();
  return {values, values + all.numel()};
}

}  // namespace

at::Tensor gather_rows(Communicator& comm, const at::Tensor& mine, std::span<const int64_t> rows,
                       std::string_view what) {
  auto shape = mine.sizes().vec();
  shape[0] = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  at::Tensor all = at::empty(shape, mine.options().requires_grad(false));
  comm.all_gather(mine.detach().contiguous(), all, rows, {Channel::kExchange, what})->wait();
  return all;
}

std::vector<int32_t> gather_values(Communicator& comm, std::span<const int32_t> mine, std::string_view what) {
  return gather(comm, mine, at::kInt, what);
}

std::vector<int64_t> gather_values(Communicator& comm, std::span<const int64_t> mine, std::string_view what) {
  return gather(comm, mine, at::kLong, what);
}

std::vector<double> gather_values(Communicator& comm, std::span<const double> mine, std::string_view what) {
  return gather(comm, mine, at::kDouble, what);
}

}  // namespace rondo
