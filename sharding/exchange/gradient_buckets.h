#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "sharding/comm/communicator.h"

namespace rondo {

/// Sums the gradients of replicated parameters over ranks, in buckets of a fixed order: parameters in the given order,
/// closed at `bucket_bytes`; bucket k is issued only after k - 1.
///
/// Seam: today `finish` issues all buckets; issuing from autograd hooks during backward changes this class alone.
class GradientBuckets {
 public:
  /// Shares the tensors with the layers that own them. REQUIRES: the same list on every rank.
  GradientBuckets(std::vector<at::Tensor> parameters, Communicator& comm, int64_t bucket_bytes = 4 << 20);
  ~GradientBuckets();

  /// After backward: every parameter's grad() is the sum over ranks; a gradient that is undefined here counts as
  /// zeros and is defined afterwards. At world 1 nothing is copied.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rondo
