#include "sharding/comm/exchange_plan.h"

#include <numeric>

#include "sharding/base/check.h"
#include "sharding/comm/rank_order_sum.h"

namespace rondo {
namespace {

/// Sums up to this size go to every rank whole: one exchange instead of two, for more bytes.
constexpr int64_t kWholeBytes = 32'768;

void check_tensor(Place place, const at::Tensor& tensor, CallTag tag) {
  RONDO_CHECK(tensor.defined(), "tensor of '", tag.what, "'");
  RONDO_CHECK(tensor.is_contiguous(), "tensor of '", tag.what, "'");
  RONDO_CHECK(tensor.device().type() == place.device, "tensor of '", tag.what, "' is on ", tensor.device().str());
}

void check_summable(const at::Tensor& tensor, CallTag tag) {
  RONDO_CHECK(is_summable(tensor.scalar_type()), "sums take fp32, fp64 and int64; '", tag.what, "' is ",
              c10::toString(tensor.scalar_type()));
}

std::byte* data_of(const at::Tensor& tensor) { return static_cast<std::byte*>(tensor.data_ptr()); }

ByteSpan whole(const at::Tensor& tensor) { return {data_of(tensor), static_cast<int64_t>(tensor.nbytes()), tensor}; }

int64_t row_bytes(const at::Tensor& tensor) {
  auto bytes = static_cast<int64_t>(tensor.itemsize());
  for (int64_t dim = 1; dim < tensor.dim(); ++dim) bytes *= tensor.size(dim);
  return bytes;
}

/// The rows of `tensor`, cut into one segment a rank.
std::vector<ByteSpan> slices(Place place, SplitRows split, CallTag tag) {
  const auto& [tensor, rows] = split;
  check_tensor(place, tensor, tag);
  RONDO_CHECK_GE(tensor.dim(), 1, "tensor of '", tag.what, "' has no rows");
  RONDO_CHECK_EQ(rows.size(), static_cast<size_t>(place.world), "entries of rows of '", tag.what, "'");
  const int64_t width = row_bytes(tensor);
  std::vector<ByteSpan> segments;
  int64_t begin = 0;
  for (const int64_t count : rows) {
    RONDO_CHECK_GE(count, 0, "rows of '", tag.what, "'");
    segments.push_back({data_of(tensor) + begin * width, count * width, tensor});
    begin += count;
  }
  RONDO_CHECK_EQ(tensor.size(0), begin, "rows of the tensor of '", tag.what, "' on rank ", place.rank);
  return segments;
}

void check_same_rows(const at::Tensor& input, const at::Tensor& output, CallTag tag) {
  RONDO_CHECK_EQ(c10::toString(input.scalar_type()), std::string_view(c10::toString(output.scalar_type())),
                 "dtypes of input and output of '", tag.what, "'");
  RONDO_CHECK_EQ(row_bytes(input), row_bytes(output), "bytes of a row of input and output of '", tag.what, "'");
}

ExchangePlan empty_plan(Place place, Operation operation, at::ScalarType dtype, CallTag tag) {
  ExchangePlan plan;
  plan.header = make_header(operation, /*sequence=*/0, dtype, tag);
  plan.send.resize(static_cast<size_t>(place.world));
  plan.receive.resize(plan.send.size());
  return plan;
}

/// Receives from every peer an addend of as many bytes as `own`, this rank's; the sum goes to `sum`.
void add_from_peers(Place place, const ByteSpan& own, const ByteSpan& sum, ExchangePlan& plan) {
  plan.sum = sum;
  if (place.pool == nullptr) {
    for (ByteSpan& segment : plan.receive) segment.bytes = own.bytes;  // what the headers state
    return;
  }
  plan.staging = place.pool->take(own.bytes * (place.world - 1));
  int64_t used = 0;
  for (int rank = 0; rank < place.world; ++rank) {
    if (rank == place.rank || own.bytes == 0) {
      plan.addends.push_back(own.data);
      continue;
    }
    ByteSpan& segment = plan.receive[static_cast<size_t>(rank)];
    segment = {data_of(plan.staging) + used, own.bytes, plan.staging};
    plan.addends.push_back(segment.data);
    used += own.bytes;
  }
}

/// Cuts `tensor` by elements into one segment a rank, as even as can be.
std::vector<ByteSpan> even_cut(Place place, const at::Tensor& tensor) {
  const auto width = static_cast<int64_t>(tensor.itemsize());
  const int64_t share = tensor.numel() / place.world;
  const int64_t longer = tensor.numel() % place.world;  // ranks with one element more
  std::vector<ByteSpan> segments;
  std::byte* begin = data_of(tensor);
  for (int rank = 0; rank < place.world; ++rank) {
    const int64_t bytes = (share + (rank < longer ? 1 : 0)) * width;
    segments.push_back({begin, bytes, tensor});
    begin += bytes;
  }
  return segments;
}

}  // namespace

ExchangePlan plan_all_reduce(Place place, const at::Tensor& values, CallTag tag) {
  check_tensor(place, values, tag);
  check_summable(values, tag);
  ExchangePlan plan = empty_plan(place, Operation::kAllReduce, values.scalar_type(), tag);
  plan.stated_bytes = static_cast<int64_t>(values.nbytes());
  plan.sum = whole(values);
  if (place.world == 1 || place.pool == nullptr) return plan;
  const auto me = static_cast<size_t>(place.rank);
  if (plan.stated_bytes <= kWholeBytes) {
    plan.send.assign(plan.send.size(), whole(values));
    plan.send[me] = {};
    add_from_peers(place, whole(values), whole(values), plan);
    return plan;
  }
  plan.gather = even_cut(place, values);
  plan.send = plan.gather;
  plan.send[me] = {};
  add_from_peers(place, plan.gather[me], plan.gather[me], plan);
  return plan;
}

ExchangePlan plan_reduce_scatter(Place place, const at::Tensor& input, const at::Tensor& output,
                                 std::span<const int64_t> rows, CallTag tag) {
  check_tensor(place, output, tag);
  check_summable(input, tag);
  check_same_rows(input, output, tag);
  ExchangePlan plan = empty_plan(place, Operation::kReduceScatter, input.scalar_type(), tag);
  plan.send = slices(place, {input, rows}, tag);
  const ByteSpan own = plan.send[static_cast<size_t>(place.rank)];
  RONDO_CHECK_EQ(output.size(0), rows[static_cast<size_t>(place.rank)], "rows of the output of '", tag.what, "'");
  add_from_peers(place, own, whole(output), plan);
  return plan;
}

ExchangePlan plan_all_gather(Place place, const at::Tensor& input, const at::Tensor& output,
                             std::span<const int64_t> rows, CallTag tag) {
  check_tensor(place, input, tag);
  check_same_rows(input, output, tag);
  ExchangePlan plan = empty_plan(place, Operation::kAllGather, input.scalar_type(), tag);
  plan.receive = slices(place, {output, rows}, tag);
  RONDO_CHECK_EQ(input.size(0), rows[static_cast<size_t>(place.rank)], "rows of the input of '", tag.what, "'");
  plan.send.assign(plan.send.size(), whole(input));
  return plan;
}

ExchangePlan plan_all_to_all(Place place, SplitRows input, SplitRows output, CallTag tag) {
  ExchangePlan plan = empty_plan(place, Operation::kAllToAll, input.tensor.scalar_type(), tag);
  plan.send = slices(place, input, tag);
  plan.receive = slices(place, output, tag);
  check_same_rows(input.tensor, output.tensor, tag);
  const auto me = static_cast<size_t>(place.rank);
  RONDO_CHECK_EQ(input.rows[me], output.rows[me], "rows of '", tag.what, "' that rank ", place.rank, " keeps");
  return plan;
}

ExchangePlan plan_broadcast(Place place, const at::Tensor& values, int root, CallTag tag) {
  check_tensor(place, values, tag);
  RONDO_CHECK(root >= 0 && root < place.world, "root ", root, " of '", tag.what, "'");
  ExchangePlan plan = empty_plan(place, Operation::kBroadcast, values.scalar_type(), tag);
  if (place.rank == root) {
    plan.send.assign(plan.send.size(), whole(values));
    plan.send[static_cast<size_t>(root)] = {};
  } else {
    plan.receive[static_cast<size_t>(root)] = whole(values);
  }
  return plan;
}

ExchangePlan plan_barrier(Place place, CallTag tag) {
  return empty_plan(place, Operation::kBarrier, at::ScalarType::Byte, tag);
}

}  // namespace rondo
