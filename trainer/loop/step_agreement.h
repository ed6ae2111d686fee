#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "sharding/comm/communicator.h"
#include "trainer/nn/parameter.h"

namespace rondo {

/// What the ranks agree on while backward runs: the loss of the global batch, and whether to stop after this step.
class StepAgreement {
 public:
  /// `loss`: this rank's part of the sum. Collective.
  StepAgreement(Communicator& comm, double loss, bool stop);

  void wait() { work_->wait(); }
  double loss() const { return values_.data_ptr<double>()[0]; }
  bool stop() const { return values_.data_ptr<double>()[1] > 0.0; }

 private:
  at::Tensor values_;
  std::unique_ptr<Work> work_;
};

/// Throws ConfigError naming the step and what to do unless `value` is finite.
void require_finite(double value, const char* what, int64_t step);

std::vector<at::Tensor> values_of(const ParameterList& parameters);

/// Examples of every rank of a global batch: neighbouring ones to one rank, as evenly as it goes.
std::vector<int64_t> share_sizes(int64_t global_size, int world);

}  // namespace rondo
