#pragma once

#include <string>

#include "sharding/comm/communicator.h"
#include "sharding/comm/nccl_communicator.h"

namespace rondo {

/// Throws ConfigError on every rank, naming both, when two ranks were given one device. Collective, over the host.
void require_own_devices(Communicator& host, const std::string& host_name, const std::string& uuid);

/// int64 [world] each, on the device of the communicator.
struct SelfTestTensors {
  at::Tensor send;
  at::Tensor receive;
};

/// Sends numbers that tell who sent them to whom over every pair of ranks and checks what comes. Throws PeerError that
/// names the pair. Collective.
void verify_exchange(NcclCommunicator& comm, const SelfTestTensors& tensors);

}  // namespace rondo
