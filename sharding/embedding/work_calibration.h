#pragma once

#include <vector>

#include "sharding/base/progress.h"
#include "sharding/plan/hardware_profile.h"

namespace rondo {

struct WorkCalibration {
  /// Tables of which sizes are asked at random; larger ones cost as the largest.
  std::vector<double> table_bytes{4e6, 48e6, 480e6};
  int64_t ids = 16'384;  ///< of a step
  int repeats = 40;      ///< of each step; the fastest counts
};

/// Measures what this rank does alone, by the calls that a training makes (ShardedEmbedding and pool_rows in a world of
/// one, hashed tables, row-wise Adagrad, fp32), and fills the work rates of `profile`. Each cost by two shapes that
/// differ in it alone: distinct and repeated ids, narrow and wide rows, few and many tables. Not collective; ranks that
/// share memory call it at the same time.
void calibrate_work(const WorkCalibration& options, Progress& progress, HardwareProfile& profile);

}  // namespace rondo
