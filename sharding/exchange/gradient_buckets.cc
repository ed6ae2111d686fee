#include "sharding/exchange/gradient_buckets.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "sharding/base/check.h"

namespace rondo {
namespace {

/// Parameters whose gradients travel together.
struct Bucket {
  std::string name;                // of the call; outlives it
  std::vector<size_t> parameters;  // places in the list
  std::vector<at::Tensor> parts;   // of `memory`, shaped as the parameters
  at::Tensor memory;               // flat
  size_t expected = 0;             // gradients that backward can bring
  size_t arrived = 0;              // of this backward
};

}  // namespace

struct GradientBuckets::Impl {
  Impl(std::vector<at::Tensor> list, Communicator& communicator) : parameters(std::move(list)), comm(communicator) {}

  void fill(int64_t bucket_bytes);
  void close(std::vector<size_t> members);
  void watch();
  void arrive(size_t bucket);
  void send_full();
  void send_next();

  std::vector<at::Tensor> parameters;
  Communicator& comm;
  std::vector<Bucket> buckets;
  std::vector<std::unique_ptr<Work>> under_way;  // of buckets 0, 1, ...
  int64_t sent_early = 0;
  bool watching = false;
  std::thread::id caller = std::this_thread::get_id();
};

namespace {

class Arrival final : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit Arrival(std::function<void()> arrive) : arrive_(std::move(arrive)) {}
  void operator()(const at::Tensor&) override { arrive_(); }

 private:
  std::function<void()> arrive_;
};

}  // namespace

void GradientBuckets::Impl::fill(int64_t bucket_bytes) {
  std::vector<size_t> members;
  int64_t bytes = 0;
  for (size_t p = parameters.size(); p-- > 0;) {
    const at::Tensor& parameter = parameters[p];
    const bool fits =
        members.empty() || (bytes < bucket_bytes && parameter.scalar_type() == parameters[members[0]].scalar_type());
    if (!fits) {
      close(std::exchange(members, {}));
      bytes = 0;
    }
    members.push_back(p);
    bytes += static_cast<int64_t>(parameter.nbytes());
  }
  close(std::move(members));
}

void GradientBuckets::Impl::close(std::vector<size_t> members) {
  if (members.empty()) return;
  int64_t total = 0;
  for (const size_t p : members) total += parameters[p].numel();
  const auto options = parameters[members.front()].options().requires_grad(false);
  Bucket bucket{.name = concat("gradient bucket ", buckets.size()),
                .parameters = std::move(members),
                .parts = {},
                .memory = at::empty({total}, options)};
  int64_t start = 0;
  for (const size_t p : bucket.parameters) {
    bucket.parts.push_back(bucket.memory.narrow(0, start, parameters[p].numel()).view(parameters[p].sizes()));
    start += parameters[p].numel();
  }
  buckets.push_back(std::move(bucket));
}

void GradientBuckets::Impl::watch() {
  watching = true;
  for (size_t b = 0; b < buckets.size(); ++b) {
    for (const size_t p : buckets[b].parameters) {
      if (!parameters[p].requires_grad()) continue;
      ++buckets[b].expected;
      torch::autograd::impl::set_post_acc_grad_hooks(parameters[p],
                                                     std::make_unique<Arrival>([this, b] { arrive(b); }));
    }
  }
  comm.backward_calls().on_settled = [this] { send_full(); };
}

void GradientBuckets::Impl::arrive(size_t bucket) {
  // Gradients of a device come on a thread of autograd's; calls are made by one thread alone.
  if (std::this_thread::get_id() != caller) return;
  ++buckets[bucket].arrived;
  send_full();
}

/// Sends what is full, in order.
void GradientBuckets::Impl::send_full() {
  while (comm.backward_calls().settled() && under_way.size() < buckets.size()) {
    const Bucket& next = buckets[under_way.size()];
    if (next.arrived < next.expected) return;
    send_next();
    ++sent_early;
  }
}

void GradientBuckets::Impl::send_next() {
  const at::NoGradGuard no_grad;
  Bucket& bucket = buckets[under_way.size()];
  for (size_t i = 0; i < bucket.parts.size(); ++i) {
    at::Tensor& parameter = parameters[bucket.parameters[i]];
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
    bucket.parts[i].copy_(parameter.grad());
  }
  under_way.push_back(comm.all_reduce(bucket.memory, {Channel::kGradients, bucket.name}));
}

GradientBuckets::GradientBuckets(std::vector<at::Tensor> parameters, Communicator& comm,
                                 const GradientBucketOptions& options)
    : impl_(std::make_unique<Impl>(std::move(parameters), comm)) {
  RONDO_CHECK_GE(options.bucket_bytes, 1);
  if (comm.size() == 1) return;
  impl_->fill(options.bucket_bytes);
  if (options.overlap) impl_->watch();
}

GradientBuckets::~GradientBuckets() {
  if (!impl_->watching) return;
  impl_->comm.backward_calls().on_settled = nullptr;
  for (const at::Tensor& parameter : impl_->parameters) {
    if (parameter.requires_grad()) torch::autograd::impl::set_post_acc_grad_hooks(parameter, nullptr);
  }
}

void GradientBuckets::finish() {
  const at::NoGradGuard no_grad;
  if (impl_->comm.size() == 1) {
    for (at::Tensor& parameter : impl_->parameters) {
      if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
    }
    return;
  }
  impl_->comm.backward_calls().reset();
  while (impl_->under_way.size() < impl_->buckets.size()) impl_->send_next();
  for (size_t b = 0; b < impl_->buckets.size(); ++b) {
    impl_->under_way[b]->wait();
    Bucket& bucket = impl_->buckets[b];
    for (size_t i = 0; i < bucket.parts.size(); ++i) {
      impl_->parameters[bucket.parameters[i]].mutable_grad().copy_(bucket.parts[i]);
    }
    bucket.arrived = 0;
  }
  impl_->under_way.clear();
}

int64_t GradientBuckets::sent_early() const { return impl_->sent_early; }

}  // namespace rondo
