#include "trainer/loop/train_step.h"

#include <ATen/ops/zeros.h>

#include <cmath>
#include <memory>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/stopwatch.h"
#include "trainer/model/in_batch_softmax.h"

namespace rondo {
namespace {

std::vector<at::Tensor> values_of(const ParameterList& parameters) {
  std::vector<at::Tensor> values;
  for (const auto& parameter : parameters) values.push_back(parameter.value);
  return values;
}

/// Examples of every rank: the shares that TrainingExamples deals out.
std::vector<int64_t> share_sizes(int64_t global_size, int world) {
  std::vector<int64_t> sizes;
  for (int rank = 0; rank < world; ++rank) {
    sizes.push_back(global_size * (rank + 1) / world - global_size * rank / world);
  }
  return sizes;
}

/// What the ranks agree on while backward runs: [loss, wishes to stop].
class Agreement {
 public:
  Agreement(Communicator& comm, double loss, bool stop) : values_(at::zeros({2}, at::kDouble)) {
    values_.data_ptr<double>()[0] = loss;
    values_.data_ptr<double>()[1] = stop ? 1.0 : 0.0;
    work_ = comm.all_reduce(values_, {Channel::kControl, "loss and stop"});
  }

  void wait() { work_->wait(); }
  double loss() const { return values_.data_ptr<double>()[0]; }
  bool stop() const { return values_.data_ptr<double>()[1] > 0.0; }

 private:
  at::Tensor values_;
  std::unique_ptr<Work> work_;
};

void require_finite(double value, const char* what, int64_t step) {
  if (std::isfinite(value)) return;
  throw ConfigError(concat("the ", what, " is ", value, " at step ", step,
                           ": training diverged. Lower the learning rates (train.optimizer.learning_rate, "
                           "tables.*.optimizer.learning_rate) or raise model.temperature"));
}

}  // namespace

TrainStep::TrainStep(RecommenderModel& model, ShardedEmbedding& embedding, DenseOptimizer& optimizer,
                     Communicator& comm, uint64_t seed)
    : model_(model),
      embedding_(embedding),
      optimizer_(optimizer),
      comm_(comm),
      gradient_sum_(values_of(model.parameters()), comm),
      seed_(seed) {}

StepResult TrainStep::run(const Batch& batch, const StepPlan& plan, bool stop) {
  const StepContext context{seed_, plan.step, /*training=*/true};
  StepResult result;
  Stopwatch watch;
  const RoutedIds routed = embedding_.route(model_.ids(batch), LookupMode::kTrain);  // ids to owners
  result.times.route = 1e3 * watch.restart();
  const std::vector<TableRows> tables = embedding_.forward(routed, plan.step);  // rows back: [distinct, dim] each
  result.times.rows = 1e3 * watch.restart();

  const BatchRows rows{routed, tables};
  const at::Tensor users = model_.normalized(model_.user_vectors(batch, rows, context));  // [batch, dim]
  const at::Tensor items = model_.normalized(model_.item_vectors(batch, rows, context));  // [batch, dim]
  const std::vector<int64_t> sizes = share_sizes(batch.global_size, comm_.size());
  const at::Tensor loss = in_batch_softmax(
      comm_, {users, items, model_.target_keys(batch), model_.target_probabilities(batch, rows), sizes}, batch,
      model_.positive_keys(batch), model_.options());  // this rank's part of the global mean
  Agreement agreement(comm_, loss.item<double>(), stop);
  result.times.forward = 1e3 * watch.restart();

  loss.backward();
  agreement.wait();
  require_finite(agreement.loss(), "loss", plan.step);
  result.times.backward = 1e3 * watch.restart();

  gradient_sum_.finish();  // dense: summed over ranks
  const StepVerdict verdict = optimizer_.step({plan.step - 1, plan.learning_rate_factor, plan.clip_norm});
  require_finite(verdict.finite ? 0.0 : verdict.gradient_norm, "gradient", plan.step);
  embedding_.backward(routed, tables, plan.step,
                      plan.learning_rate_factor);  // row gradients to owners, which update them
  result.times.update = 1e3 * watch.restart();

  result.loss = agreement.loss();
  result.stop = agreement.stop();
  return result;
}

}  // namespace rondo
