#pragma once

#include <cstdint>
#include <span>

#include "sharding/comm/communicator.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

/// Collective. Throws ConfigError on every rank, naming the first rank and table that differ from rank 0's, unless all
/// ranks were given the same tables and seed.
void agree_on_plan(std::span<const TableSpec> specs, uint64_t seed, Communicator& comm);

}  // namespace rondo
