#include "trainer/loop/step_agreement.h"

#include <ATen/ops/zeros.h>

#include <cmath>

#include "sharding/base/check.h"

namespace rondo {

StepAgreement::StepAgreement(Communicator& comm, double loss, bool stop) : values_(at::zeros({2}, at::kDouble)) {
  values_.data_ptr<double>()[0] = loss;
  values_.data_ptr<double>()[1] = stop ? 1.0 : 0.0;
  work_ = comm.all_reduce(values_, {Channel::kControl, "loss and stop"});
}

void require_finite(double value, const char* what, int64_t step) {
  if (std::isfinite(value)) return;
  throw ConfigError(concat("the ", what, " is ", value, " at step ", step,
                           ": training diverged. Lower the learning rates (train.optimizer.learning_rate, "
                           "tables.*.optimizer.learning_rate) or raise model.temperature"));
}

std::vector<at::Tensor> values_of(const ParameterList& parameters) {
  std::vector<at::Tensor> values;
  for (const auto& parameter : parameters) values.push_back(parameter.value);
  return values;
}

std::vector<int64_t> share_sizes(int64_t global_size, int world) {
  std::vector<int64_t> sizes;
  for (int rank = 0; rank < world; ++rank) {
    sizes.push_back(global_size * (rank + 1) / world - global_size * rank / world);
  }
  return sizes;
}

}  // namespace rondo
