#include "sharding/base/error.h"
#include "sharding/handle/cuda_api.h"
#include "sharding/handle/nccl_api.h"

namespace rondo {
namespace {

[[noreturn]] void refuse() {
  throw ConfigError(
      "this program was built without CUDA and NCCL; build it where the CUDA toolkit is, with -DRONDO_CUDA=ON");
}

}  // namespace

bool built_with_cuda() { return false; }

CudaApi cuda_library() { refuse(); }

NcclApi nccl_library() { refuse(); }

}  // namespace rondo
