#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sharding/comm/communicator.h"
#include "sharding/exchange/gradient_buckets.h"
#include "trainer/loop/classifier.h"
#include "trainer/loop/classifier_data.h"
#include "trainer/loop/train_options.h"
#include "trainer/loop/train_task.h"

namespace rondo {

/// Text classification: cross-entropy over the training examples of a dataset.
///
/// Every rank holds the dataset and works out the whole global batch, so that what is dealt to whom needs no message.
/// The numbers depend neither on the world nor on the dispatch but for the order of summation (DESIGN 3).
class ClassifierTask final : public TrainTask {
 public:
  /// Keeps references.
  ClassifierTask(const TrainOptions& train, const ClassifierOptions& options, const ClassifierData& data,
                 TextClassifier& model, uint64_t seed, Communicator& comm);

  int64_t examples() const override { return static_cast<int64_t>(data_.split.train.size()); }
  StepResult step(DataCursor& cursor, const StepPlan& plan) override;
  CheckpointContent content() override { return checkpoint_content(model_, seed_, optimizer_.get()); }
  const DenseOptimizer& optimizer() const override { return *optimizer_; }

 private:
  std::vector<int64_t> next_batch(DataCursor& cursor, int64_t global_batch) const;
  at::Tensor encode_own(std::span<const int64_t> examples, const StepContext& context, StepResult& result);
  at::Tensor encode_dealt(const std::vector<int64_t>& batch, std::span<const int64_t> own, const StepContext& context,
                          StepResult& result);
  at::Tensor loss_of(std::span<const int64_t> own, const at::Tensor& scores, double weight_sum) const;
  double weight_of(int64_t example) const;

  ClassifierOptions options_;
  const ClassifierData& data_;
  TextClassifier& model_;
  uint64_t seed_;
  Communicator& comm_;
  std::unique_ptr<DenseOptimizer> optimizer_;
  GradientBuckets gradient_sum_;
};

}  // namespace rondo
