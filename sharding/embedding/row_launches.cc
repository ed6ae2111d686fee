#include "sharding/embedding/row_launches.h"

#include "sharding/embedding/row_device.h"

namespace rondo {

RowLaunches row_kernels_of_library() {
  return RowLaunches::of([](const auto& work, CudaStream stream) { return launch(work, stream); });
}

}  // namespace rondo
