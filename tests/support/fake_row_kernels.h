#pragma once

#include "sharding/embedding/row_launches.h"
#include "tests/support/fake_cuda.h"

namespace rondo::testing {

/// The row kernels for one device of a FakeMachine: operations of its streams that run every lane's share on the host,
/// by the functions that the kernels of row_device.cu run (row_launch.h, record_launch.h). What a kernel reads and
/// writes, the machine watches: a list that no event orders after its upload is a violation.
RowLaunches fake_row_kernels(FakeMachine& machine, int device);

}  // namespace rondo::testing
