#include "sharding/comm/nccl_call.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sharding/base/check.h"

namespace rondo {
namespace {

ByteSpan whole(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), static_cast<int64_t>(tensor.nbytes()), tensor};
}

NcclCall make_call(ExchangePlan plan, ByteSpan input, ByteSpan output) {
  NcclCall call;
  call.plan = std::move(plan);
  call.input = std::move(input);
  call.output = std::move(output);
  return call;
}

NcclType sum_type(at::ScalarType type) {
  if (type == at::kFloat) return NcclType::kFloat32;
  return type == at::kDouble ? NcclType::kFloat64 : NcclType::kInt64;
}

bool all_equal(const std::vector<ByteSpan>& segments) {
  return std::all_of(segments.begin(), segments.end(),
                     [&](const ByteSpan& one) { return one.bytes == segments.front().bytes; });
}

/// One launch of NCCL: its operations, checked one by one, in a group.
class Group {
 public:
  Group(const NcclApi& nccl, const NcclCall& call) : nccl_(nccl), call_(call) {
    check(nccl_.group_start(), "ncclGroupStart");
  }

  void check(NcclResult result, std::string_view function) { call_.channel->check(result, function, call_.text); }

  void send(const std::byte* from, int64_t bytes, int peer) {
    if (bytes > 0) check(nccl_.send(from, count(bytes), NcclType::kBytes, peer, comm(), stream()), "ncclSend");
  }
  void receive(std::byte* to, int64_t bytes, int peer) {
    if (bytes > 0) check(nccl_.recv(to, count(bytes), NcclType::kBytes, peer, comm(), stream()), "ncclRecv");
  }
  void broadcast(const std::byte* from, std::byte* to, int64_t bytes, int root) {
    if (bytes == 0) return;
    check(nccl_.broadcast(from, to, count(bytes), NcclType::kBytes, root, comm(), stream()), "ncclBroadcast");
  }
  void reduce(const std::byte* from, std::byte* to, int64_t bytes, int root) {
    if (bytes == 0) return;
    const NcclType type = sum_type(call_.plan.header.dtype);
    check(nccl_.reduce(from, to, count(bytes) / size_of(type), type, root, comm(), stream()), "ncclReduce");
  }

  void end() { check(nccl_.group_end(), "ncclGroupEnd"); }

 private:
  static size_t count(int64_t bytes) { return static_cast<size_t>(bytes); }
  NcclComm comm() const { return call_.channel->comm(); }
  CudaStream stream() const { return call_.channel->stream(); }

  const NcclApi& nccl_;
  const NcclCall& call_;
};

bool launch_all_to_all(const NcclApi& nccl, const NcclCall& call) {
  if (call.input.bytes == 0 && call.output.bytes == 0) return false;
  Group group(nccl, call);
  const std::byte* from = call.send_buffer();
  std::byte* to = call.receive_buffer();
  for (size_t r = 0; r < call.plan.send.size(); ++r) {
    const int64_t sent = call.plan.send[r].bytes, received = call.plan.receive[r].bytes;
    group.send(from, sent, static_cast<int>(r));
    group.receive(to, received, static_cast<int>(r));
    from += sent;
    to += received;
  }
  group.end();
  return true;
}

bool launch_all_gather(const NcclApi& nccl, int rank, const NcclCall& call) {
  if (call.output.bytes == 0) return false;
  const auto& segments = call.plan.receive;
  if (all_equal(segments)) {
    call.channel->check(
        nccl.all_gather(call.send_buffer(), call.receive_buffer(), static_cast<size_t>(call.input.bytes),
                        NcclType::kBytes, call.channel->comm(), call.channel->stream()),
        "ncclAllGather", call.text);
    return true;
  }
  Group group(nccl, call);
  std::byte* to = call.receive_buffer();
  for (size_t r = 0; r < segments.size(); ++r) {
    const bool mine = static_cast<int>(r) == rank;
    group.broadcast(mine ? call.send_buffer() : nullptr, to, segments[r].bytes, static_cast<int>(r));
    to += segments[r].bytes;
  }
  group.end();
  return true;
}

bool launch_reduce_scatter(const NcclApi& nccl, int rank, const NcclCall& call) {
  if (call.input.bytes == 0) return false;
  const auto& segments = call.plan.send;
  const NcclType type = sum_type(call.plan.header.dtype);
  if (all_equal(segments)) {
    call.channel->check(nccl.reduce_scatter(call.send_buffer(), call.receive_buffer(),
                                            static_cast<size_t>(call.output.bytes) / size_of(type), type,
                                            call.channel->comm(), call.channel->stream()),
                        "ncclReduceScatter", call.text);
    return true;
  }
  Group group(nccl, call);
  const std::byte* from = call.send_buffer();
  for (size_t r = 0; r < segments.size(); ++r) {
    const bool mine = static_cast<int>(r) == rank;
    group.reduce(from, mine ? call.receive_buffer() : nullptr, segments[r].bytes, static_cast<int>(r));
    from += segments[r].bytes;
  }
  group.end();
  return true;
}

bool launch_in_place(const NcclApi& nccl, const NcclCall& call) {
  const int64_t bytes = std::max(call.input.bytes, call.output.bytes);
  if (bytes == 0) return false;
  std::byte* const buffer = call.send_buffer();
  const NcclComm comm = call.channel->comm();
  const CudaStream stream = call.channel->stream();
  if (call.plan.header.operation == Operation::kBroadcast) {
    call.channel->check(
        nccl.broadcast(buffer, buffer, static_cast<size_t>(bytes), NcclType::kBytes, call.root, comm, stream),
        "ncclBroadcast", call.text);
    return true;
  }
  const NcclType type = sum_type(call.plan.header.dtype);
  call.channel->check(nccl.all_reduce(buffer, buffer, static_cast<size_t>(bytes) / size_of(type), type, comm, stream),
                      "ncclAllReduce", call.text);
  return true;
}

}  // namespace

NcclCall all_reduce_call(Place place, const at::Tensor& values, CallTag tag) {
  ExchangePlan plan = plan_all_reduce(place, values, tag);
  NcclCall call = make_call(std::move(plan), whole(values), whole(values));
  call.in_place = true;
  return call;
}

NcclCall reduce_scatter_call(Place place, const at::Tensor& input, const at::Tensor& output,
                             std::span<const int64_t> rows, CallTag tag) {
  ExchangePlan plan = plan_reduce_scatter(place, input, output, rows, tag);
  return make_call(std::move(plan), whole(input), whole(output));
}

NcclCall all_gather_call(Place place, const at::Tensor& input, const at::Tensor& output, std::span<const int64_t> rows,
                         CallTag tag) {
  ExchangePlan plan = plan_all_gather(place, input, output, rows, tag);
  return make_call(std::move(plan), whole(input), whole(output));
}

NcclCall all_to_all_call(Place place, SplitRows input, SplitRows output, CallTag tag) {
  ExchangePlan plan = plan_all_to_all(place, input, output, tag);
  return make_call(std::move(plan), whole(input.tensor), whole(output.tensor));
}

NcclCall broadcast_call(Place place, const at::Tensor& values, int root, CallTag tag) {
  ExchangePlan plan = plan_broadcast(place, values, root, tag);
  const bool sends = place.rank == root;
  NcclCall call = make_call(std::move(plan), sends ? whole(values) : ByteSpan{}, sends ? ByteSpan{} : whole(values));
  call.in_place = true;
  call.root = root;
  return call;
}

bool launch(const NcclApi& nccl, int rank, const NcclCall& call) {
  switch (call.plan.header.operation) {
    case Operation::kAllToAll:
      return launch_all_to_all(nccl, call);
    case Operation::kAllGather:
      return launch_all_gather(nccl, rank, call);
    case Operation::kReduceScatter:
      return launch_reduce_scatter(nccl, rank, call);
    case Operation::kAllReduce:
    case Operation::kBroadcast:
      return launch_in_place(nccl, call);
    default:
      RONDO_CHECK(false, "no device operation for ", call.text);
  }
  return false;
}

}  // namespace rondo
