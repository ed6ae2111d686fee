#include "sharding/comm/nccl_self_test.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/error.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

constexpr CallTag kDevices{Channel::kControl, "devices of all ranks"};
constexpr CallTag kPairs{Channel::kExchange, "self-test of all pairs"};
constexpr int64_t kTextBytes = 256;

int64_t number_between(int source, int target) {
  return static_cast<int64_t>(mix64(static_cast<uint64_t>(source + 1) << 32 | static_cast<uint64_t>(target)));
}

}  // namespace

void require_own_devices(Communicator& host, const std::string& host_name, const std::string& uuid) {
  const std::string mine = (host_name + " " + uuid).substr(0, kTextBytes - 1);
  at::Tensor text = at::empty({1, kTextBytes}, at::kChar), all = at::empty({host.size(), kTextBytes}, at::kChar);
  std::memset(text.mutable_data_ptr(), 0, static_cast<size_t>(kTextBytes));
  std::memcpy(text.mutable_data_ptr(), mine.data(), mine.size());
  host.all_gather(text, all, std::vector<int64_t>(static_cast<size_t>(host.size()), 1), kDevices)->wait();
  std::vector<std::string> devices;
  for (int rank = 0; rank < host.size(); ++rank) {
    devices.emplace_back(static_cast<const char*>(all.const_data_ptr()) + rank * kTextBytes);
    const auto other = std::find(devices.begin(), devices.end() - 1, devices.back());
    if (other == devices.end() - 1) continue;
    throw ConfigError(concat("ranks ", other - devices.begin(), " and ", rank, " were given the same device (",
                             devices.back(), "): NCCL takes one rank a device. Show every rank of a host all of its ",
                             "devices, or each its own"));
  }
}

void verify_exchange(NcclCommunicator& comm, const SelfTestTensors& tensors) {
  const int world = comm.size();
  at::Tensor numbers = at::empty({world}, at::kLong);
  for (int target = 0; target < world; ++target) {
    numbers.mutable_data_ptr<int64_t>()[target] = number_between(comm.rank(), target);
  }
  tensors.send.copy_(numbers);
  const std::vector<int64_t> one(static_cast<size_t>(world), 1);
  comm.all_to_all(tensors.send, one, tensors.receive, one, kPairs)->wait();
  numbers.copy_(tensors.receive);
  for (int source = 0; source < world; ++source) {
    const int64_t got = numbers.const_data_ptr<int64_t>()[source], expected = number_between(source, comm.rank());
    if (got == expected) continue;
    throw PeerError(concat("self-test: rank ", comm.rank(), " got ", got, " from rank ", source,
                           " over NCCL, expected ", expected,
                           ": the path between their devices is broken (NCCL_P2P_DISABLE=1 avoids it)"));
  }
}

}  // namespace rondo
