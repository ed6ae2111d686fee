#include "trainer/loop/train_step.h"

#include <utility>
#include <vector>

#include "sharding/base/stopwatch.h"
#include "trainer/loop/step_agreement.h"
#include "trainer/model/in_batch_softmax.h"

namespace rondo {

TrainStep::TrainStep(RecommenderModel& model, ShardedEmbedding& embedding, DenseOptimizer& optimizer,
                     Communicator& comm, const TrainStepOptions& options)
    : model_(model),
      embedding_(embedding),
      optimizer_(optimizer),
      comm_(comm),
      gradient_sum_(values_of(model.learning_parameters()), comm, options.gradients),
      seed_(options.seed) {}

StepResult TrainStep::run(const Batch& batch, const Batch* next, const StepPlan& plan) {
  const StepContext context{seed_, plan.step, /*training=*/true};
  StepResult result;
  Stopwatch watch;
  if (std::exchange(routed_ahead_, next != nullptr)) {
    embedding_.finish_route();
    std::swap(now_, ahead_);
  } else {
    embedding_.route(model_.ids(batch), LookupMode::kTrain, {}, now_);  // ids to owners
  }
  result.phase_ms.push_back({"route", 1e3 * watch.restart()});
  const std::vector<TableRows> tables = embedding_.forward(now_, plan.step);  // rows back: [distinct, dim] each
  result.phase_ms.push_back({"rows", 1e3 * watch.restart()});

  if (next != nullptr) embedding_.begin_route(model_.ids(*next), LookupMode::kTrain, {}, ahead_);
  const BatchRows rows{now_, tables};
  const at::Tensor users = model_.normalized(model_.user_vectors(batch, rows, context));  // [batch, dim]
  const at::Tensor items = model_.normalized(model_.item_vectors(batch, rows, context));  // [batch, dim]
  const std::vector<int64_t> sizes = share_sizes(batch.global_size, comm_.size());
  const at::Tensor loss = in_batch_softmax(
      comm_, {users, items, model_.target_keys(batch), model_.target_probabilities(batch, rows), sizes}, batch,
      model_.positive_keys(batch), model_.options());  // this rank's part of the global mean
  StepAgreement agreement(comm_, loss.item<double>(), plan.stop);
  result.phase_ms.push_back({"forward", 1e3 * watch.restart()});

  if (next != nullptr) embedding_.advance_route();
  loss.backward();  // sends the dense gradients that are complete
  agreement.wait();
  result.phase_ms.push_back({"backward", 1e3 * watch.restart()});

  gradient_sum_.finish();  // dense: summed over ranks
  require_finite(agreement.loss(), "loss", plan.step);
  const StepVerdict verdict = optimizer_.step({plan.step - 1, plan.learning_rate_factor, plan.clip_norm});
  require_finite(verdict.finite ? 0.0 : verdict.gradient_norm, "gradient", plan.step);
  embedding_.backward(now_, tables, plan.step,
                      plan.learning_rate_factor);  // row gradients to owners, which update them
  result.phase_ms.push_back({"update", 1e3 * watch.restart()});

  result.loss = agreement.loss();
  result.examples = batch.global_size;
  result.stop = agreement.stop();
  return result;
}

}  // namespace rondo
