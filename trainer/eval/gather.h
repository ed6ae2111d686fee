#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sharding/comm/communicator.h"

namespace rondo {

/// Rows of all ranks in rank order, on every rank. `rows` [world]: how many each rank brings. Blocking, collective.
at::Tensor gather_rows(Communicator& comm, const at::Tensor& mine, std::span<const int64_t> rows,
                       std::string_view what);

/// Values of all ranks in rank order, on every rank; lengths may differ. Blocking, collective.
std::vector<int32_t> gather_values(Communicator& comm, std::span<const int32_t> mine, std::string_view what);
std::vector<int64_t> gather_values(Communicator& comm, std::span<const int64_t> mine, std::string_view what);
std::vector<double> gather_values(Communicator& comm, std::span<const double> mine, std::string_view what);

}  // namespace rondo
