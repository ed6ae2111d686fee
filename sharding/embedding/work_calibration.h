#pragma once

#include <vector>

#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "sharding/plan/hardware_profile.h"

namespace rondo {

struct WorkCalibration {
  /// Tables of which sizes are asked at random; larger ones cost as the largest.
  std::vector<double> table_bytes{4e6, 48e6, 480e6};
  int64_t ids = 16'384;  ///< of a step
  int repeats = 40;      ///< of each step; the fastest fifth counts
};

/// Measures what ranks do, by the calls that a training makes (ShardedEmbedding with a pooled feature, hashed tables,
/// row-wise Adagrad, fp32), and fills the work rates of `profile`. Each cost by two shapes that differ in it alone:
/// distinct and repeated ids, narrow and wide rows, few and many tables; first every rank with tables of its own, then,
/// where there are several, with tables spread over them: what that takes beyond the first and beyond the links of
/// `profile` is what it costs that ids, rows and gradients cross.
///
/// Collective: ranks work at the same time and begin each stage together, since they share memory and caches; the
/// slowest counts. REQUIRES: the links of `profile`, if there are several ranks.
void calibrate_work(const WorkCalibration& options, Communicator& comm, Progress& progress, HardwareProfile& profile);

}  // namespace rondo
