#include "sharding/exchange/gather_vectors.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <numeric>
#include <vector>

#include "sharding/base/check.h"

namespace rondo {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// What backward needs to know; kept by the autograd node.
struct GatherCall : torch::CustomClassHolder {
  GatherCall(Communicator& communicator, std::span<const int64_t> sizes)
      : comm(communicator), rows(sizes.begin(), sizes.end()) {}

  Communicator& comm;
  std::vector<int64_t> rows;
};

class GatherVectors : public torch::autograd::Function<GatherVectors> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& mine, const c10::intrusive_ptr<GatherCall>& call) {
    ctx->saved_data["call"] = c10::IValue::make_capsule(call);
    const int64_t total = std::accumulate(call->rows.begin(), call->rows.end(), int64_t{0});
    at::Tensor all = at::empty({total, mine.size(1)}, mine.options());
    call->comm.all_gather(mine.contiguous(), all, call->rows, {Channel::kBackward, "vectors of all ranks"})->wait();
    return all;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto call = c10::static_intrusive_pointer_cast<GatherCall>(ctx->saved_data["call"].toCapsule());
    const at::Tensor all = gradients[0].contiguous();
    at::Tensor mine = at::empty({call->rows[static_cast<size_t>(call->comm.rank())], all.size(1)}, all.options());
    call->comm.reduce_scatter(all, mine, call->rows, {Channel::kBackward, "gradients of vectors"})->wait();
    call->comm.backward_calls().made();
    return {mine, at::Tensor()};
  }
};

}  // namespace

at::Tensor gather_vectors(Communicator& comm, const at::Tensor& mine, std::span<const int64_t> rows) {
  RONDO_CHECK_EQ(rows.size(), static_cast<size_t>(comm.size()));
  RONDO_CHECK(mine.dim() == 2 && mine.size(0) == rows[comm.rank()], "shape ", mine.sizes());
  if (comm.size() == 1) return mine;
  if (at::GradMode::is_enabled() && mine.requires_grad()) comm.backward_calls().owe();
  return GatherVectors::apply(mine, c10::make_intrusive<GatherCall>(comm, rows));
}

}  // namespace rondo
