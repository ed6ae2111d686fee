#pragma once

#include <string>
#include <vector>

#include "trainer/checkpoint/checkpoint_content.h"
#include "trainer/checkpoint/manifest.h"

namespace rondo {

/// What a job wants of a checkpoint.
enum class LoadScope : uint8_t {
  kResume,   ///< to go on where it stopped: same seed, digest, tables and tensors, no more and no less
  kWeights,  ///< to evaluate, recommend or start warm: what the content names; the checkpoint may hold more
};

/// Every difference between the checkpoint and the job, a line each ("table \"item\": dim is 64 in the checkpoint, 32
/// in the job"); empty if it fits.
std::vector<std::string> mismatches(const Manifest& manifest, const CheckpointContent& job, LoadScope scope);

}  // namespace rondo
