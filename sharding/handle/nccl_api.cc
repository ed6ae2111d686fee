#include "sharding/handle/nccl_api.h"

#include <string_view>

#include "sharding/base/check.h"

namespace rondo {
namespace {

std::string_view name_of(NcclResult result) {
  switch (result) {
    case NcclResult::kSuccess:
      return "ncclSuccess";
    case NcclResult::kUnhandledCudaError:
      return "ncclUnhandledCudaError";
    case NcclResult::kSystemError:
      return "ncclSystemError";
    case NcclResult::kInternalError:
      return "ncclInternalError";
    case NcclResult::kInvalidArgument:
      return "ncclInvalidArgument";
    case NcclResult::kInvalidUsage:
      return "ncclInvalidUsage";
    case NcclResult::kRemoteError:
      return "ncclRemoteError";
    case NcclResult::kInProgress:
      return "ncclInProgress";
  }
  return "a result that this program does not know";
}

}  // namespace

size_t size_of(NcclType type) { return type == NcclType::kBytes ? 1 : type == NcclType::kFloat32 ? 4 : 8; }

std::string nccl_version(const NcclApi& api) {
  int version = 0;
  if (api.get_version(&version) != NcclResult::kSuccess || version <= 0) return "unknown";
  return concat(version / 10'000, ".", version / 100 % 100, ".", version % 100);
}

std::string explain(const NcclApi& api, NcclResult result, NcclComm comm) {
  const std::string last = api.last_error(comm);
  return concat(api.error_text(result), " (", name_of(result), ", ", static_cast<int>(result), ")",
                last.empty() ? "" : "; last error: ", last);
}

}  // namespace rondo
