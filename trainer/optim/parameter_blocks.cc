#include "trainer/optim/parameter_blocks.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sharding/base/check.h"
#include "sharding/base/parallel.h"
#include "trainer/optim/update_kernels.h"

namespace rondo {
namespace {

constexpr int64_t kBlock = 1 << 14;

}  // namespace

ParameterBlocks::ParameterBlocks(ParameterList parameters) : parameters_(std::move(parameters)) {
  for (size_t p = 0; p < parameters_.size(); ++p) {
    const at::Tensor& value = parameters_[p].value;
    RONDO_CHECK(value.is_contiguous() && value.is_cpu(), parameters_[p].name);
    RONDO_CHECK(value.scalar_type() == at::kFloat || value.scalar_type() == at::kDouble, parameters_[p].name);
    for (int64_t begin = 0; begin < value.numel(); begin += kBlock) {
      blocks_.push_back({p, begin, std::min(kBlock, value.numel() - begin)});
    }
  }
  gradients_.resize(parameters_.size());
  sums_.resize(blocks_.size());
}

StepVerdict ParameterBlocks::take_gradients() {
  for (size_t p = 0; p < parameters_.size(); ++p) {
    const at::Tensor& gradient = parameters_[p].value.grad();
    RONDO_CHECK(gradient.defined(), "no gradient for ", parameters_[p].name);
    RONDO_CHECK(gradient.sizes() == parameters_[p].value.sizes() &&
                    gradient.scalar_type() == parameters_[p].value.scalar_type(),
                "gradient of ", parameters_[p].name);
    gradients_[p] = gradient.contiguous();
  }
  parallel_for(static_cast<int64_t>(blocks_.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto b = static_cast<size_t>(begin); b < static_cast<size_t>(end); ++b) {
      const ParameterBlock& block = blocks_[b];
      const at::Tensor& gradient = gradients_[block.parameter];
      sums_[b] = gradient.scalar_type() == at::kFloat
                     ? kernels::sum_of_squares(gradient.const_data_ptr<float>() + block.begin, block.count)
                     : kernels::sum_of_squares(gradient.const_data_ptr<double>() + block.begin, block.count);
    }
  });
  double sum = 0.0;
  for (const double part : sums_) sum += part;
  return {.gradient_norm = std::sqrt(sum), .finite = std::isfinite(sum)};
}

void ParameterBlocks::drop_gradients() {
  for (size_t p = 0; p < parameters_.size(); ++p) {
    gradients_[p].reset();
    parameters_[p].value.mutable_grad().reset();
  }
}

void ParameterBlocks::note_change() {
  for (const NamedParameter& parameter : parameters_) parameter.value.unsafeGetTensorImpl()->bump_version();
}

void ParameterBlocks::for_each(const std::function<void(const ParameterBlock&)>& body) const {
  parallel_for(static_cast<int64_t>(blocks_.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto b = static_cast<size_t>(begin); b < static_cast<size_t>(end); ++b) body(blocks_[b]);
  });
}

double clipping_scale(double norm, double limit) { return limit > 0.0 && norm > limit ? limit / norm : 1.0; }

}  // namespace rondo
