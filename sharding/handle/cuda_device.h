#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sharding/handle/cuda_api.h"
#include "sharding/handle/nccl_api.h"

namespace rondo {

/// Devices that this process sees; 0 without a driver or a GPU, and `why` says which.
struct VisibleDevices {
  int count = 0;
  std::string why;
};
VisibleDevices visible_devices(const CudaApi& api);

/// This process among those of its host.
struct HostPlace {
  int local_rank = 0;
  int local_size = 1;
};

/// The device of a rank: that of its local rank, or the only visible one (a launcher that shows each rank its own).
/// Throws ConfigError for fewer devices than ranks, with both numbers and what to do.
int device_of_rank(int visible, HostPlace place);

/// One line of the start-up self-test.
struct DeviceCheck {
  std::string name;
  std::string found;
  std::string wrong;  // empty: in order; else what is, and what to do
};

/// What can be seen without communication: device and its capability, versions of driver, runtime and NCCL, peer access
/// to the other visible devices, room in /dev/shm, limit of locked memory.
std::vector<DeviceCheck> check_device(const CudaApi& cuda, const NcclApi& nccl, int device, HostPlace place);

/// "driver: CUDA 13.0"; with " - " and what is wrong.
std::string text_of(const DeviceCheck& check);

/// Throws ConfigError that names the failing checks, if there are any.
void require_passed(const std::vector<DeviceCheck>& checks);

}  // namespace rondo
