#include "sharding/handle/cuda_device.h"

#include <sys/resource.h>
#include <sys/statvfs.h>

#include "sharding/base/check.h"
#include "sharding/base/error.h"

namespace rondo {
namespace {

/// What the kernels are compiled for at least.
constexpr int kLeastMajor = 8;
/// NCCL takes some 10 to 30 MB a rank of a host.
constexpr int64_t kSharedBytesPerRank = int64_t{32} << 20;
constexpr int64_t kLeastLockedBytes = int64_t{64} << 20;

std::string cuda_version(int version) { return concat("CUDA ", version / 1000, ".", version % 1000 / 10); }

DeviceCheck check_driver(const CudaApi& cuda) {
  int driver = 0, runtime = 0;
  check_cuda(cuda, cuda.driver_version(&driver), "cudaDriverGetVersion");
  check_cuda(cuda, cuda.runtime_version(&runtime), "cudaRuntimeGetVersion");
  DeviceCheck check{"driver", concat(cuda_version(driver), ", runtime ", cuda_version(runtime)), {}};
  if (driver / 1000 < runtime / 1000) {
    check.wrong =
        concat("the driver is older than the runtime of this program: update it to one of ", cuda_version(runtime));
  }
  return check;
}

DeviceCheck check_capability(int device, const CudaDeviceInfo& info) {
  DeviceCheck check{"device",
                    concat(device, ": ", info.name, ", compute capability ", info.major, ".", info.minor, ", ",
                           info.memory_bytes >> 30, " GiB, UUID ", info.uuid),
                    {}};
  if (info.major < kLeastMajor) {
    check.wrong = concat("the kernels need compute capability ", kLeastMajor, ".0 or later");
  }
  return check;
}

/// Never a failure: without it NCCL goes through host memory, which is slow.
DeviceCheck check_peers(const CudaApi& cuda, int device) {
  DeviceCheck check{"peer access", {}, {}};
  const int count = visible_devices(cuda).count;
  for (int peer = 0; peer < count; ++peer) {
    bool can = false;
    if (peer == device) continue;
    check_cuda(cuda, cuda.can_access_peer(device, peer, &can), "cudaDeviceCanAccessPeer");
    check.found += concat(check.found.empty() ? "" : ", ", can ? "" : "not ", "to device ", peer);
  }
  if (check.found.empty()) check.found = "no other device is visible";
  return check;
}

DeviceCheck check_shared_memory(HostPlace place) {
  struct statvfs status{};
  if (::statvfs("/dev/shm", &status) != 0) {
    return {"/dev/shm", "not there", "NCCL needs it: mount a tmpfs there (docker: --shm-size=1g)"};
  }
  const auto free = static_cast<int64_t>(status.f_bavail) * static_cast<int64_t>(status.f_frsize);
  const int64_t needed = kSharedBytesPerRank * place.local_size;
  DeviceCheck check{"/dev/shm", concat(free >> 20, " MiB free"), {}};
  if (free < needed) {
    check.wrong = concat("NCCL may need ", needed >> 20, " MiB for ", place.local_size,
                         " ranks: enlarge it (docker: --shm-size=1g)");
  }
  return check;
}

DeviceCheck check_locked_memory() {
  struct rlimit limit{};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  if (limit.rlim_cur == RLIM_INFINITY) return {"locked memory", "unlimited", {}};
  DeviceCheck check{"locked memory", concat(limit.rlim_cur >> 20, " MiB"), {}};
  if (static_cast<int64_t>(limit.rlim_cur) < kLeastLockedBytes) {
    check.wrong = "NCCL over InfiniBand needs more: ulimit -l unlimited (docker: --ulimit memlock=-1)";
  }
  return check;
}

}  // namespace

VisibleDevices visible_devices(const CudaApi& api) {
  VisibleDevices devices;
  const CudaStatus status = api.get_device_count(&devices.count);
  if (status == kCudaSuccess && devices.count > 0) return devices;
  devices.count = 0;
  if (status == kCudaInsufficientDriver) {
    devices.why = "there is no NVIDIA driver, or it is older than the CUDA of this program";
  } else if (status == kCudaSuccess || status == kCudaNoDevice) {
    devices.why = "no device is visible: look at nvidia-smi and CUDA_VISIBLE_DEVICES";
  } else {
    devices.why = concat("cudaGetDeviceCount: ", api.error_text(status), " (CUDA error ", status, ")");
  }
  return devices;
}

int device_of_rank(int visible, HostPlace place) {
  RONDO_CHECK(visible > 0 && place.local_rank < place.local_size);
  if (visible == 1) return 0;  // two ranks on it are found by their UUID
  if (visible >= place.local_size) return place.local_rank;
  throw ConfigError(concat("this host has ", place.local_size, " ranks, but only ", visible,
                           " devices are visible to them: start at most one rank a device, or show each rank its own"));
}

std::vector<DeviceCheck> check_device(const CudaApi& cuda, const NcclApi& nccl, int device, HostPlace place) {
  CudaDeviceInfo info;
  check_cuda(cuda, cuda.get_device_info(device, &info), "cudaGetDeviceProperties", concat("of device ", device));
  return {check_driver(cuda),        check_capability(device, info), {"NCCL", nccl_version(nccl), {}},
          check_peers(cuda, device), check_shared_memory(place),     check_locked_memory()};
}

std::string text_of(const DeviceCheck& check) {
  return concat(check.name, ": ", check.found, check.wrong.empty() ? "" : " - ", check.wrong);
}

void require_passed(const std::vector<DeviceCheck>& checks) {
  std::string failed;
  for (const DeviceCheck& check : checks) {
    if (!check.wrong.empty()) failed += "\n  " + text_of(check);
  }
  if (!failed.empty()) throw ConfigError("the self-test of the device failed:" + failed);
}

}  // namespace rondo
