#pragma once

#include <cstdint>

namespace rondo {

/// Where a job says that it wants to run.
enum class DeviceWish : uint8_t {
  kAuto,  ///< on CUDA devices where they can be used, else on the processor
  kCpu,
  kCuda,
};

/// Returns if the wish can be met. Throws ConfigError that says what is missing for kCuda. Where devices are visible,
/// their self-test is logged.
void require_device(DeviceWish wish);

}  // namespace rondo
