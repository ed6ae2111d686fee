#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/comm/device_buffers.h"
#include "sharding/comm/exchange_plan.h"
#include "sharding/comm/nccl_channel.h"
#include "sharding/comm/pairwise_communicator.h"

namespace rondo {

struct NcclCall;

struct NcclOptions {
  /// Where the tensors are that travel over NCCL; the others go over the host communicator, and so does all of
  /// Channel::kControl. at::kCPU: host memory stands in for device memory (the test double), and `wait` waits on the
  /// host.
  at::DeviceType device = at::kCUDA;

  /// The stream on which the caller computes; nullptr: the default stream, which is LibTorch's, too.
  CudaStream compute_stream = nullptr;

  /// True: every call has a header that the host communicator carries to the peers, and `wait` returns once theirs have
  /// come and agree. False: calls are counted, and the next call of the host communicator (the sizes of an exchange)
  /// compares how many there were and which; `wait` does not wait on the host.
  bool announce_calls = false;
};

/// The collectives for tensors in device memory: NCCL moves the bytes, a host communicator the words (DESIGN 3).
///
/// One NCCL communicator with its stream per purpose, all issued by one host thread in the order of the calls. `wait`
/// makes the compute stream wait, not the host: what the caller computes there afterwards sees the output. Each call
/// goes through buffers of this class, so tensors may be freed as soon as `wait` has returned.
///
/// A deadline that passes on the device and an error that NCCL meets on its own are noticed at the next call, wait or
/// progress. Then, as after any failure here or on a peer, all NCCL communicators are aborted, the peers are told over
/// the host, and every later call throws why.
class NcclCommunicator final : public Communicator {
 public:
  /// Collective. `host` and the tables outlive this. Throws PeerError when a rank does not come in time.
  NcclCommunicator(PairwiseCommunicator& host, const DeviceLibraries& libraries, const CommunicatorOptions& options,
                   const NcclOptions& nccl = {});

  /// Aborts what `finalize` has not ended.
  ~NcclCommunicator() override;

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  void set_phase(Phase phase) override;

  std::unique_ptr<Work> all_reduce(at::Tensor values, CallTag tag) override;
  std::unique_ptr<Work> reduce_scatter(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                       CallTag tag) override;
  std::unique_ptr<Work> all_gather(at::Tensor input, at::Tensor output, std::span<const int64_t> rows,
                                   CallTag tag) override;
  std::unique_ptr<Work> all_to_all(at::Tensor input, std::span<const int64_t> send_rows, at::Tensor output,
                                   std::span<const int64_t> receive_rows, CallTag tag) override;
  std::unique_ptr<Work> broadcast(at::Tensor values, int root, CallTag tag) override;

  /// Waits on the host until the devices have done all calls so far, then for the peers.
  void barrier(CallTag tag) override;
  void progress() override;

  /// Orderly end. Collective; no call is under way. Nothing may be called afterwards.
  void finalize();

  /// Device memory of the exchange buffers.
  int64_t buffer_bytes() const { return buffers_.allocated_bytes(); }

 private:
  class CallWork;
  using CallPointer = std::shared_ptr<NcclCall>;  // shared with the Work of the call

  Place place() const { return {rank(), size(), nullptr, options_.device}; }
  bool is_on_device(const at::Tensor& tensor, CallTag tag) const;
  NcclPatience patience(std::chrono::milliseconds deadline);
  NcclChannel& channel_of(Channel purpose);
  void connect();
  std::unique_ptr<Work> issue(NcclCall call);
  void announce(NcclCall& call);
  void start(NcclCall& call);
  void wait(NcclCall& call);
  void deliver(NcclCall& call);
  void await(const NcclCall& call);
  bool is_finished(NcclCall& call);
  void poll();
  void drain();
  void abort_channels() noexcept;
  void fail(const Error& error);
  template <typename Step>
  auto guarded(const Step& step);

  PairwiseCommunicator& host_;
  DeviceLibraries libraries_;
  CommunicatorOptions deadlines_;
  NcclOptions options_;
  Phase phase_ = Phase::kStart;
  DeviceBuffers buffers_;
  std::vector<NcclChannel> channels_;  // exchange, gradients, backward; empty: aborted or finalised
  std::deque<CallPointer> active_;     // not known to be over on the device
};

}  // namespace rondo
