#include "tests/bench/collective_bench.h"

#include <ATen/ops/empty.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <iostream>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/comm/mpi_communicator.h"
#include "sharding/comm/nccl_communicator.h"
#include "sharding/comm/nccl_self_test.h"
#include "sharding/handle/cuda_device.h"
#include "tests/bench/collective_times.h"

namespace rondo::bench {
namespace {

std::string host_name() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// Chooses the device of this rank and tells what it finds there.
void start_device(MpiSession& session, Communicator& host, const DeviceLibraries& libraries) {
  const VisibleDevices devices = visible_devices(libraries.cuda);
  if (devices.count == 0) throw ConfigError("--backend nccl: " + devices.why);
  const HostPlace place{session.local_rank(), session.local_size()};
  const int device = device_of_rank(devices.count, place);
  check_cuda(libraries.cuda, libraries.cuda.set_device(device), "cudaSetDevice");
  const auto checks = check_device(libraries.cuda, libraries.nccl, device, place);
  if (session.rank() == 0) {
    for (const DeviceCheck& check : checks) std::cerr << text_of(check) << std::endl;
  }
  require_passed(checks);
  CudaDeviceInfo info;
  check_cuda(libraries.cuda, libraries.cuda.get_device_info(device, &info), "cudaGetDeviceProperties");
  require_own_devices(host, host_name(), info.uuid);
}

}  // namespace

bool run_collectives_on_devices(MpiSession& session) {
  const CudaApi cuda = cuda_library();
  const NcclApi nccl = nccl_library();
  const DeviceLibraries libraries{cuda, nccl};
  const auto host = make_mpi_communicator(session, {});
  start_device(session, *host, libraries);
  NcclCommunicator comm(*host, libraries, {});
  const auto options = at::TensorOptions(at::kLong).device(at::kCUDA);
  verify_exchange(comm, {at::empty({comm.size()}, options), at::empty({comm.size()}, options)});
  const auto times = time_collectives(comm, {.device = at::kCUDA});
  const bool mine = std::all_of(times.begin(), times.end(), [](const CollectiveTime& time) { return time.correct; });
  const bool all = sum_of(comm, mine ? 0 : 1, "wrong results") == 0;
  if (session.rank() == 0) std::cout << text_of(times, comm.size(), "nccl");
  comm.finalize();
  return all;
}

}  // namespace rondo::bench
