#include "sharding/exchange/gradient_buckets.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>

#include <string>
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
};

}  // namespace

struct GradientBuckets::Impl {
  Impl(std::vector<at::Tensor> list, Communicator& communicator) : parameters(std::move(list)), comm(communicator) {}

  void close(std::vector<size_t> members);

  std::vector<at::Tensor> parameters;
  Communicator& comm;
  std::vector<Bucket> buckets;
};

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

GradientBuckets::GradientBuckets(std::vector<at::Tensor> parameters, Communicator& comm, int64_t bucket_bytes)
    : impl_(std::make_unique<Impl>(std::move(parameters), comm)) {
  RONDO_CHECK_GE(bucket_bytes, 1);
  if (comm.size() == 1) return;
  std::vector<size_t> members;
  int64_t bytes = 0;
  for (size_t p = 0; p < impl_->parameters.size(); ++p) {
    const at::Tensor& parameter = impl_->parameters[p];
    const bool fits = members.empty() ||
                      (bytes < bucket_bytes && parameter.scalar_type() == impl_->parameters[members[0]].scalar_type());
    if (!fits) {
      impl_->close(std::exchange(members, {}));
      bytes = 0;
    }
    members.push_back(p);
    bytes += static_cast<int64_t>(parameter.nbytes());
  }
  impl_->close(std::move(members));
}

GradientBuckets::~GradientBuckets() = default;

void GradientBuckets::finish() {
  const at::NoGradGuard no_grad;
  for (at::Tensor& parameter : impl_->parameters) {
    if (!parameter.grad().defined()) parameter.mutable_grad() = at::zeros_like(parameter);
  }
  std::vector<std::unique_ptr<Work>> under_way;
  for (Bucket& bucket : impl_->buckets) {
    for (size_t i = 0; i < bucket.parts.size(); ++i) {
      bucket.parts[i].copy_(impl_->parameters[bucket.parameters[i]].grad());
    }
    under_way.push_back(impl_->comm.all_reduce(bucket.memory, {Channel::kGradients, bucket.name}));
  }
  for (size_t b = 0; b < under_way.size(); ++b) {
    under_way[b]->wait();
    const Bucket& bucket = impl_->buckets[b];
    for (size_t i = 0; i < bucket.parts.size(); ++i) {
      impl_->parameters[bucket.parameters[i]].mutable_grad().copy_(bucket.parts[i]);
    }
  }
}

}  // namespace rondo
