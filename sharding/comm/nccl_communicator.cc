#include "sharding/comm/nccl_communicator.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/comm/nccl_call.h"

namespace rondo {
namespace {

using std::chrono::steady_clock;

/// How long a rank that meets an error of NCCL listens for a peer that knows the cause.
constexpr std::chrono::milliseconds kHearsay{300};

constexpr CallTag kMeeting{Channel::kControl, "start of NCCL"};
constexpr CallTag kParting{Channel::kControl, "end of NCCL"};

}  // namespace

/// Holds on to a call until its output is on its way.
class NcclCommunicator::CallWork final : public Work {
 public:
  CallWork(NcclCommunicator& comm, CallPointer call)
      : comm_(comm), call_(std::move(call)), exceptions_(std::uncaught_exceptions()) {}

  /// While an exception passes through, peers may never answer: the call is left to the communicator.
  ~CallWork() override {
    if (call_->delivered || std::uncaught_exceptions() > exceptions_) return;
    try {
      comm_.wait(*call_);
    } catch (const Error&) {
      // The communicator remembers it: the next call throws it again.
    }
  }

  void wait() override { comm_.wait(*call_); }

 private:
  NcclCommunicator& comm_;
  CallPointer call_;
  int exceptions_;
};

/// Runs a step; when it throws, the devices stop and the peers hear why. What a peer has said before is the cause.
template <typename Step>
auto NcclCommunicator::guarded(const Step& step) {
  try {
    return step();
  } catch (const PeerError& error) {
    fail(error);
    host_.throw_if_failed();
    throw;
  } catch (const Error& error) {
    fail(error);
    throw;
  }
}

NcclCommunicator::NcclCommunicator(PairwiseCommunicator& host, const DeviceLibraries& libraries,
                                   const CommunicatorOptions& options, const NcclOptions& nccl)
    : host_(host), libraries_(libraries), deadlines_(options), options_(nccl), buffers_(libraries_.cuda) {
  validate(options);
  guarded([&] { connect(); });
}

NcclCommunicator::~NcclCommunicator() {
  if (!active_.empty()) host_.give_up("it left while calls were under way on its device", ExitCode::kStopped);
  abort_channels();
}

void NcclCommunicator::connect() {
  host_.barrier(kMeeting);  // who does not come is named, which NCCL does not do
  NcclUniqueId id{};
  at::Tensor bytes = at::empty({static_cast<int64_t>(id.size())}, at::kByte);
  if (rank() == 0) {
    const NcclResult result = libraries_.nccl.get_unique_id(&id);
    if (result != NcclResult::kSuccess) {
      throw PeerError(concat("ncclGetUniqueId failed on rank 0, NCCL ", nccl_version(libraries_.nccl), ": ",
                             explain(libraries_.nccl, result, nullptr)));
    }
    std::memcpy(bytes.mutable_data_ptr(), id.data(), id.size());
  }
  host_.broadcast(bytes, /*root=*/0, kMeeting)->wait();
  std::memcpy(id.data(), bytes.const_data_ptr(), id.size());
  const NcclPatience start = patience(deadlines_.start_deadline);
  channels_.reserve(3);
  channels_.push_back(NcclChannel::connect(libraries_, id, rank(), size(), start));
  channels_.push_back(channels_.front().split("gradients", start));
  channels_.push_back(channels_.front().split("backward", start));
}

NcclPatience NcclCommunicator::patience(std::chrono::milliseconds deadline) {
  return {deadline, [this](int round) {
            host_.progress();
            host_.throw_if_failed();
            host_.idle(round);
          }};
}

void NcclCommunicator::set_phase(Phase phase) {
  phase_ = phase;
  host_.set_phase(phase);
}

bool NcclCommunicator::is_on_device(const at::Tensor& tensor, CallTag tag) const {
  return tag.channel != Channel::kControl && (!tensor.defined() || tensor.device().type() == options_.device);
}

NcclChannel& NcclCommunicator::channel_of(Channel purpose) {
  const size_t place = purpose == Channel::kExchange ? 0 : purpose == Channel::kGradients ? 1 : 2;
  RONDO_CHECK_LT(place, channels_.size(), "a call after the end of NCCL");
  return channels_[place];
}

std::unique_ptr<Work> NcclCommunicator::all_reduce(at::Tensor values, CallTag tag) {
  if (!is_on_device(values, tag)) return host_.all_reduce(values, tag);
  return issue(all_reduce_call(place(), values, tag));
}

std::unique_ptr<Work> NcclCommunicator::reduce_scatter(at::Tensor input, at::Tensor output,
                                                       std::span<const int64_t> rows, CallTag tag) {
  if (!is_on_device(input, tag)) return host_.reduce_scatter(input, output, rows, tag);
  return issue(reduce_scatter_call(place(), input, output, rows, tag));
}

std::unique_ptr<Work> NcclCommunicator::all_gather(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                                   CallTag tag) {
  if (!is_on_device(input, tag)) return host_.all_gather(input, output, rows, tag);
  return issue(all_gather_call(place(), input, output, rows, tag));
}

std::unique_ptr<Work> NcclCommunicator::all_to_all(at::Tensor input, std::span<const int64_t> send_rows,
                                                   at::Tensor output, std::span<const int64_t> receive_rows,
                                                   CallTag tag) {
  if (!is_on_device(input, tag)) return host_.all_to_all(input, send_rows, output, receive_rows, tag);
  return issue(all_to_all_call(place(), {input, send_rows}, {output, receive_rows}, tag));
}

std::unique_ptr<Work> NcclCommunicator::broadcast(at::Tensor values, int root, CallTag tag) {
  if (!is_on_device(values, tag)) return host_.broadcast(values, root, tag);
  return issue(broadcast_call(place(), values, root, tag));
}

void NcclCommunicator::barrier(CallTag tag) {
  guarded([&] {
    drain();
    host_.barrier(tag);
  });
}

std::unique_ptr<Work> NcclCommunicator::issue(NcclCall made) {
  host_.throw_if_failed();
  const auto call = std::make_shared<NcclCall>(std::move(made));
  guarded([&] {
    announce(*call);
    start(*call);
  });
  if (!call->delivered) active_.push_back(call);
  progress();
  return std::make_unique<CallWork>(*this, call);
}

void NcclCommunicator::announce(NcclCall& call) {
  CallHeader& header = call.plan.header;
  header.sequence = options_.announce_calls ? host_.calls() : host_.device_calls();
  call.number = header.sequence;
  call.text = concat(options_.announce_calls ? "" : "device ", describe(header), ", ",
                     std::max(call.input.bytes, call.output.bytes), " bytes");
  if (options_.announce_calls) {
    call.announcement = host_.announce(call.plan);
  } else {
    host_.count_device_call(header);
  }
}

void NcclCommunicator::start(NcclCall& call) {
  const CudaApi& cuda = libraries_.cuda;
  call.channel = &channel_of(call.plan.header.channel);
  call.issued = steady_clock::now();
  call.deadline = deadlines_.deadline(phase_);
  call.send = buffers_.take(call.in_place ? std::max(call.input.bytes, call.output.bytes) : call.input.bytes);
  if (!call.in_place) call.receive = buffers_.take(call.output.bytes);
  if (call.input.bytes > 0) {
    check_cuda(cuda,
               cuda.memcpy_async(call.send_buffer(), call.input.data, static_cast<size_t>(call.input.bytes),
                                 options_.compute_stream),
               "cudaMemcpyAsync", call.text);
  }
  // Also where nothing is sent: the buffers may still be read and written on the compute stream for the call before.
  call.ready = buffers_.take_event();
  check_cuda(cuda, cuda.event_record(call.ready.get(), options_.compute_stream), "cudaEventRecord", call.text);
  check_cuda(cuda, cuda.stream_wait_event(call.channel->stream(), call.ready.get()), "cudaStreamWaitEvent", call.text);
  if (launch(libraries_.nccl, rank(), call)) {
    call.done = buffers_.take_event();
    check_cuda(cuda, cuda.event_record(call.done.get(), call.channel->stream()), "cudaEventRecord", call.text);
    call.channel->settle("ncclGroupEnd", call.text, patience(call.deadline));
  }
}

/// The output into its tensor, on the compute stream; the buffers are free for what comes later on that stream.
void NcclCommunicator::deliver(NcclCall& call) {
  if (call.delivered) return;
  const CudaApi& cuda = libraries_.cuda;
  if (call.done) {
    check_cuda(cuda, cuda.stream_wait_event(options_.compute_stream, call.done.get()), "cudaStreamWaitEvent",
               call.text);
    if (call.output.bytes > 0) {
      check_cuda(cuda,
                 cuda.memcpy_async(call.output.data, call.receive_buffer(), static_cast<size_t>(call.output.bytes),
                                   options_.compute_stream),
                 "cudaMemcpyAsync", call.text);
    }
  }
  buffers_.give_back(std::move(call.send));
  buffers_.give_back(std::move(call.receive));
  call.input = {};
  call.output = {};
  call.plan = {};
  call.delivered = true;
}

void NcclCommunicator::wait(NcclCall& call) {
  if (call.delivered) return;
  guarded([&] {
    host_.throw_if_failed();
    if (call.announcement) call.announcement->wait();
    deliver(call);
    poll();
    if (options_.device == at::kCPU) await(call);
  });
}

/// Where tensors in host memory stand in for device memory, what computes on them is the host.
void NcclCommunicator::await(const NcclCall& call) {
  const auto is_under_way = [&] {
    return std::any_of(active_.begin(), active_.end(), [&](const CallPointer& one) { return one.get() == &call; });
  };
  for (int round = 0; is_under_way(); ++round) {
    host_.progress();
    host_.throw_if_failed();
    poll();
    if (is_under_way()) host_.idle(round);
  }
}

bool NcclCommunicator::is_finished(NcclCall& call) {
  if (!call.done) return true;
  const CudaStatus status = libraries_.cuda.event_query(call.done.get());
  if (status != kCudaNotReady) check_cuda(libraries_.cuda, status, "cudaEventQuery", call.text);
  return status == kCudaSuccess;
}

/// Looks at what is under way, without waiting: outputs that are there go to their tensors.
void NcclCommunicator::poll() {
  for (const NcclChannel& channel : channels_) {
    if (const std::string error = channel.async_error(); !error.empty()) {
      throw PeerError(concat(error, active_.empty() ? "" : concat("; oldest under way: ", active_.front()->text)));
    }
  }
  std::erase_if(active_, [&](const CallPointer& call) {
    if (call->announcement && !host_.is_over(call->number)) return false;
    if (is_finished(*call)) {
      deliver(*call);
      buffers_.give_back(std::move(call->ready));
      if (call->done) buffers_.give_back(std::move(call->done));
      return true;
    }
    if (steady_clock::now() - call->issued > call->deadline) {
      throw PeerError(concat("rank ", rank(), " of ", size(), " waited longer than ", call->deadline.count(),
                             " ms for its device in ", call->text, "; NCCL ", nccl_version(libraries_.nccl),
                             " reports no error: a rank is stuck, or a link is down"),
                      ExitCode::kIoOrDeadline);
    }
    return false;
  });
}

void NcclCommunicator::progress() {
  host_.progress();
  if (host_.has_failed()) return abort_channels();
  try {
    poll();
  } catch (const Error& error) {
    fail(error);  // the next call or wait throws it
  }
}

void NcclCommunicator::drain() {
  for (int round = 0; !active_.empty(); ++round) {
    host_.progress();
    host_.throw_if_failed();
    poll();
    if (!active_.empty()) host_.idle(round);
  }
}

void NcclCommunicator::finalize() {
  guarded([&] {
    drain();
    host_.barrier(kParting);
    const NcclPatience end = patience(deadlines_.deadline(phase_));
    for (size_t c = channels_.size(); c-- > 0;) channels_[c].finalize(end);
    for (size_t c = channels_.size(); c-- > 0;) channels_[c].destroy();
    channels_.clear();
  });
}

void NcclCommunicator::abort_channels() noexcept {
  for (size_t c = channels_.size(); c-- > 0;) channels_[c].abort();
  channels_.clear();
  active_.clear();
}

void NcclCommunicator::fail(const Error& error) {
  // What NCCL reports is often the echo of a peer that has given up and says why on the host.
  const auto patience = steady_clock::now() + kHearsay;
  const bool of_peers = dynamic_cast<const PeerError*>(&error) != nullptr;
  for (int round = 0; of_peers && !host_.has_failed() && steady_clock::now() < patience; ++round) {
    host_.progress();
    host_.heed_failed_peers();
    if (!host_.has_failed()) host_.idle(round);
  }
  host_.give_up(error.what(), error.exit_code());
  abort_channels();
}

}  // namespace rondo
