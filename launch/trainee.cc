#include "launch/trainee.h"

#include "launch/classifier_trainee.h"
#include "launch/recommender_trainee.h"

namespace rondo {

std::unique_ptr<Trainee> make_trainee(const JobOptions& job, Communicator& comm, Progress& progress) {
  if (job.task == TaskKind::kTextClassification) return std::make_unique<ClassifierTrainee>(job, comm, progress);
  return std::make_unique<RecommenderTrainee>(job, comm, progress);
}

}  // namespace rondo
