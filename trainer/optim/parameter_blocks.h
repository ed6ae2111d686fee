#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "trainer/nn/parameter.h"
#include "trainer/optim/dense_optimizer.h"

namespace rondo {

/// Part of one parameter: elements [begin, begin + count).
struct ParameterBlock {
  size_t parameter = 0;
  int64_t begin = 0;
  int64_t count = 0;
};

/// A list of parameters cut into blocks of a fixed size: the unit of parallel work, and of sums whose order does not
/// depend on the number of threads.
class ParameterBlocks {
 public:
  /// REQUIRES: contiguous leaves on the CPU, fp32 or fp64.
  explicit ParameterBlocks(ParameterList parameters);

  const ParameterList& parameters() const { return parameters_; }

  /// Gradient of a parameter, contiguous. Throws InternalError naming a parameter that has none.
  const at::Tensor& gradient(size_t parameter) const { return gradients_[parameter]; }

  /// Takes hold of every parameter's gradient and measures them together: norm before clipping, and whether all is
  /// finite.
  StepVerdict take_gradients();

  /// Lets go of the gradients, here and in the parameters.
  void drop_gradients();

  /// Raises the versions of the parameters, whose memory was written to: what is kept of them is stale.
  void note_change();

  void for_each(const std::function<void(const ParameterBlock&)>& body) const;

 private:
  ParameterList parameters_;
  std::vector<ParameterBlock> blocks_;
  std::vector<at::Tensor> gradients_;
  std::vector<double> sums_;  // of squares, a block each
};

/// What gradients are multiplied by so that their norm is at most `limit`; 1 where limit is 0.
double clipping_scale(double norm, double limit);

}  // namespace rondo
