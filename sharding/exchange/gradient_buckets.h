#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "sharding/comm/communicator.h"

namespace rondo {

struct GradientBucketOptions {
  int64_t bucket_bytes = 4 << 20;

  /// Send a bucket during backward, when its last gradient has come. False: all of them in `finish`; the same numbers.
  bool overlap = false;
};

/// Sums the gradients of replicated parameters over ranks, in buckets of a fixed order: parameters from the last to the
/// first, as their gradients come, closed at `bucket_bytes`; bucket k is issued only after k - 1.
///
/// During backward a bucket is sent only once the collectives of backward itself are over (Communicator::
/// backward_calls), so that the order of all calls is the same on all ranks, whichever buckets fill there. One object
/// for a parameter at a time; the parameters are leaves, and backward runs once before each `finish`.
class GradientBuckets {
 public:
  /// Shares the tensors with the layers that own them. REQUIRES: the same list and options on every rank.
  GradientBuckets(std::vector<at::Tensor> parameters, Communicator& comm, const GradientBucketOptions& options = {});
  ~GradientBuckets();

  /// After backward: every parameter's grad() is the sum over ranks; a gradient that is undefined here counts as
  /// zeros and is defined afterwards. At world 1 nothing is copied.
  void finish();

  /// Buckets that the last backward sent before `finish`.
  int64_t sent_early() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rondo
