#include "launch/trainee.h"

#include "launch/recommender_trainee.h"

namespace rondo {

std::unique_ptr<Trainee> make_trainee(const JobOptions& job, Communicator& comm, Progress& progress) {
  return std::make_unique<RecommenderTrainee>(job, comm, progress);
}

}  // namespace rondo
