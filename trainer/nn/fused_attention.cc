#include "trainer/nn/fused_ops.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <vector>

#include "sharding/base/parallel.h"
#include "trainer/nn/attention_kernels.h"
#include "trainer/nn/autograd_memory.h"

namespace rondo::fused {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kTextsPerRange = 8;

struct AttentionContext {
  int64_t heads;
  PackedDropout dropout;
};

/// `joined` and `streams` must outlive the result.
kernels::Attention make_task(const at::Tensor& joined, const AttentionContext& kept,
                             const std::vector<uint64_t>& streams) {
  const DropoutSite& site = kept.dropout.site;
  return {.joined = joined.const_data_ptr<float>(),
          .offsets = kept.dropout.rows->offsets.data(),
          .heads = kept.heads,
          .head_width = joined.size(1) / (3 * kept.heads),
          .streams = site.active() ? streams.data() : nullptr,
          .threshold = site.threshold(),
          .scale = static_cast<float>(site.scale())};
}

at::Tensor forward_attention(const at::Tensor& joined, const AttentionContext& kept) {
  const PackedRows& rows = *kept.dropout.rows;
  const std::vector<uint64_t> streams = kept.dropout.site.streams(rows);
  const kernels::Attention task = make_task(joined, kept, streams);
  at::Tensor out = at::empty({joined.size(0), joined.size(1) / 3}, at::kFloat);
  float* data = out.mutable_data_ptr<float>();
  parallel_for(rows.texts(), kTextsPerRange,
               [&](int64_t begin, int64_t end) { kernels::attend(task, data, begin, end); });
  return out;
}

class AttentionFunction : public torch::autograd::Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& joined, const AttentionContext& kept) {
    context->save_for_backward({joined});
    remember(context, kept);
    return forward_attention(joined, kept);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const at::Tensor joined = context->get_saved_variables()[0];
    const auto kept = recall<AttentionContext>(context);
    const at::Tensor out_gradient = gradients[0].contiguous();
    const PackedRows& rows = *kept.dropout.rows;
    const std::vector<uint64_t> streams = kept.dropout.site.streams(rows);
    const kernels::Attention task = make_task(joined, kept, streams);
    at::Tensor gradient = at::empty_like(joined);
    const float* from = out_gradient.const_data_ptr<float>();
    float* to = gradient.mutable_data_ptr<float>();
    parallel_for(rows.texts(), kTextsPerRange,
                 [&](int64_t begin, int64_t end) { kernels::attend_gradient(task, from, to, begin, end); });
    return {gradient, {}};
  }
};

}  // namespace

at::Tensor packed_attention(const at::Tensor& joined, int64_t heads, const PackedDropout& dropout) {
  const AttentionContext kept{heads, dropout};
  return wants_gradient(joined) ? AttentionFunction::apply(joined, kept) : forward_attention(joined, kept);
}

}  // namespace rondo::fused
