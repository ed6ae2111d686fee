#include "sharding/base/error.h"
#include "sharding/embedding/row_launches.h"

namespace rondo {

RowLaunches row_kernels_of_library() {
  throw ConfigError("this program was built without the CUDA kernels of the rows: build it with -DRONDO_CUDA=ON");
}

}  // namespace rondo
