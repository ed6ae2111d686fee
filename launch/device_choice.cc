#include "launch/device_choice.h"

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/log.h"
#include "sharding/handle/cuda_api.h"
#include "sharding/handle/cuda_device.h"
#include "sharding/handle/nccl_api.h"

namespace rondo {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw ConfigError(concat("device: CUDA cannot be had: ", why, ". device: AUTO or CPU runs on the processor"));
}

}  // namespace

void require_device(DeviceWish wish) {
  if (wish == DeviceWish::kCpu) return;
  const bool insists = wish == DeviceWish::kCuda;
  if (!built_with_cuda()) {
    if (insists) refuse("this program was built without CUDA and NCCL (build it with -DRONDO_CUDA=ON, where they are)");
    return;
  }
  const CudaApi cuda = cuda_library();
  const VisibleDevices devices = visible_devices(cuda);
  if (devices.count == 0) {
    if (insists) refuse(devices.why);
    return;
  }
  if (insists) {
    refuse(concat(devices.count, " devices are visible, but this version trains on the processor alone: ",
                  "rows and towers on devices are not there yet (docs/gpu.md)"));
  }
  for (const DeviceCheck& check : check_device(cuda, nccl_library(), /*device=*/0, {})) log_info(text_of(check));
  log_info(concat(devices.count, " CUDA devices are visible; this version trains on the processor (docs/gpu.md)"));
}

}  // namespace rondo
