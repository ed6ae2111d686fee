#include "sharding/embedding/plan_agreement.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/hash.h"

namespace rondo {
namespace {

/// Digest of every rank's `text`, in rank order.
std::vector<int64_t> gather_digests(const std::string& text, Communicator& comm) {
  const std::vector<int64_t> rows(static_cast<size_t>(comm.size()), 1);
  const at::Tensor mine = at::empty({1}, at::kLong), all = at::empty({comm.size()}, at::kLong);
  *mine.mutable_data_ptr<int64_t>() = static_cast<int64_t>(hash_bytes(text));
  comm.all_gather(mine, all, rows, {Channel::kControl, "digest of the plan"})->wait();
  const auto* const digests = all.const_data_ptr<int64_t>();
  return {digests, digests + comm.size()};
}

void agree_on(const std::string& text, const std::string& what, Communicator& comm) {
  const std::vector<int64_t> digests = gather_digests(text, comm);
  const auto other = std::ranges::find_if(digests, [&](int64_t digest) { return digest != digests.front(); });
  if (other == digests.end()) return;
  const std::string first = broadcast_text(comm, text, "plan of rank 0");
  throw ConfigError(concat("ranks were given different plans: rank ", other - digests.begin(),
                           " differs from rank 0 in ", what, "; rank 0 has ", first, "; rank ", comm.rank(),
                           ", which says this, has ", text, ". Give every rank the same job"));
}

}  // namespace

void agree_on_plan(std::span<const TableSpec> specs, uint64_t seed, Communicator& comm) {
  if (comm.size() == 1) return;
  std::string whole = concat("seed ", seed, ", ", specs.size(), " tables");
  std::string details;
  for (const TableSpec& spec : specs) details += describe(spec) + "\n";
  // One exchange when all is well.
  const std::vector<int64_t> digests = gather_digests(whole + "\n" + details, comm);
  if (std::ranges::all_of(digests, [&](int64_t digest) { return digest == digests.front(); })) return;
  agree_on(whole, "the seed or the number of tables", comm);
  for (size_t t = 0; t < specs.size(); ++t) agree_on(describe(specs[t]), concat("table ", t), comm);
  throw InternalError("plans differ in nothing that can be told");
}

}  // namespace rondo
