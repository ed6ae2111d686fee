#include "sharding/embedding/link_calibration.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/stopwatch.h"

namespace rondo {
namespace {

constexpr CallTag kTag{Channel::kExchange, "calibration"};
constexpr std::array<int64_t, 6> kMessageBytes{64, 4'096, 65'536, 524'288, 4'194'304, 16'777'216};
constexpr double kSecondsASize = 0.3;
constexpr int64_t kFewestCalls = 20, kMostCalls = 400;
constexpr int64_t kScalar = sizeof(float);

/// One call with messages of so many bytes: its preparation, which is not timed, and itself.
struct Call {
  std::function<void(int64_t message_bytes)> prepare;
  std::function<void(int64_t message_bytes)> run;
};

/// Seconds of the fastest call, on the slowest rank: what others on the machine do is not counted. Ranks agree on the
/// number of calls; each call begins at a barrier.
double seconds_of_call(Communicator& comm, const Call& call, int64_t bytes) {
  call.prepare(bytes);
  call.run(bytes);
  const Stopwatch first;
  call.run(bytes);
  const auto wanted = static_cast<int64_t>(kSecondsASize / std::max(1e-7, first.seconds()));
  const int64_t calls = broadcast_value(comm, std::clamp(wanted, kFewestCalls, kMostCalls), "calls to time");
  double fastest = std::numeric_limits<double>::infinity();
  for (int64_t i = 0; i < calls; ++i) {
    call.prepare(bytes);
    comm.barrier({Channel::kControl, "calibration"});
    const Stopwatch watch;
    call.run(bytes);
    fastest = std::min(fastest, watch.seconds());
  }
  return static_cast<double>(largest_of(comm, std::llround(fastest * 1e9), "call time")) * 1e-9;
}

/// Costs of a collective with `messages` to other ranks.
LinkCost measure(Communicator& comm, int64_t messages, const Call& call) {
  LinkCost cost;
  const double smallest = seconds_of_call(comm, call, kMessageBytes[0]);
  cost.message_seconds = smallest / static_cast<double>(messages);
  for (size_t i = 1; i < kMessageBytes.size(); ++i) {
    const double seconds = seconds_of_call(comm, call, kMessageBytes[i]);
    const auto bytes = static_cast<double>(messages * kMessageBytes[i]);
    // What a larger message takes beyond the smallest; noise may leave little of it.
    cost.rates.push_back({static_cast<double>(kMessageBytes[i]), bytes / std::max(seconds - smallest, 0.1 * seconds)});
  }
  return cost;
}

class Links {
 public:
  Links(Communicator& comm, const std::vector<int64_t>& nodes) : comm_(comm), nodes_(nodes) {}

  /// To the ranks of this node, or to those of others.
  LinkCost all_to_all(bool within) {
    std::vector<int64_t> unit(nodes_.size());
    int64_t peers = 0;
    for (size_t r = 0; r < nodes_.size(); ++r) {
      const bool mine = nodes_[r] == nodes_[static_cast<size_t>(comm_.rank())];
      unit[r] = static_cast<int>(r) != comm_.rank() && mine == within ? 1 : 0;
      peers += unit[r];
    }
    const auto run = [&](int64_t bytes) {
      std::vector<int64_t> rows;
      for (const int64_t one : unit) rows.push_back(one * bytes / kScalar);
      const auto total = peers * bytes / kScalar;
      comm_.all_to_all(buffer(0, total), rows, buffer(1, total), rows, kTag)->wait();
    };
    return measure(comm_, std::max<int64_t>(1, peers), {fill(peers), run});
  }

  LinkCost all_gather() {
    const auto run = [&](int64_t bytes) {
      comm_.all_gather(buffer(0, bytes / kScalar), buffer(1, world() * bytes / kScalar), each(bytes), kTag)->wait();
    };
    return measure(comm_, others(), {fill(1), run});
  }

  LinkCost reduce_scatter() {
    const auto run = [&](int64_t bytes) {
      comm_.reduce_scatter(buffer(0, world() * bytes / kScalar), buffer(1, bytes / kScalar), each(bytes), kTag)->wait();
    };
    return measure(comm_, others(), {fill(world()), run});
  }

  /// Of a vector that has the bytes of all messages.
  LinkCost all_reduce() {
    const auto run = [&](int64_t bytes) { comm_.all_reduce(buffer(0, others() * bytes / kScalar), kTag)->wait(); };
    return measure(comm_, others(), {fill(others()), run});
  }

 private:
  /// Writes what is to be sent, `messages` of it: in a training it comes fresh from this core, too.
  std::function<void(int64_t)> fill(int64_t messages) {
    return [this, messages](int64_t bytes) { buffer(0, messages * bytes / kScalar).fill_(1.0F); };
  }

  int64_t world() const { return comm_.size(); }
  int64_t others() const { return comm_.size() - 1; }
  std::vector<int64_t> each(int64_t bytes) const { return std::vector<int64_t>(nodes_.size(), bytes / kScalar); }

  /// The first `scalars` of a buffer that is kept, as the exchanges of a training keep theirs.
  at::Tensor buffer(size_t which, int64_t scalars) {
    at::Tensor& kept = buffers_[which];
    if (!kept.defined() || kept.numel() < scalars) kept = at::zeros({scalars}, at::kFloat);
    return kept.narrow(0, 0, scalars);
  }

  Communicator& comm_;
  const std::vector<int64_t>& nodes_;
  std::array<at::Tensor, 2> buffers_;
};

}  // namespace

void calibrate_links(Communicator& comm, int64_t node, Progress& progress, HardwareProfile& profile) {
  RONDO_CHECK_GE(comm.size(), 2);
  const std::vector<int64_t> nodes = gather_sizes(comm, node, "nodes");
  const auto mine = std::ranges::count(nodes, node);
  profile.ranks_per_node = static_cast<int>(largest_of(comm, mine, "ranks of a node"));
  profile.knows_across = mine < comm.size();
  const bool has_within = profile.ranks_per_node > 1;
  Links links(comm, nodes);
  progress.begin("links", 5, "collectives");
  if (has_within) profile.all_to_all.within = links.all_to_all(true);
  progress.advance(1);
  if (profile.knows_across) profile.all_to_all.across = links.all_to_all(false);
  progress.advance(2);
  const auto fill = [&](CollectiveCost& cost, const LinkCost& measured) {
    cost.across = measured;
    cost.within = profile.knows_across && has_within ? profile.all_to_all.within : measured;
  };
  if (!has_within) profile.all_to_all.within = profile.all_to_all.across;
  if (!profile.knows_across) profile.all_to_all.across = profile.all_to_all.within;
  fill(profile.all_gather, links.all_gather());
  progress.advance(3);
  fill(profile.reduce_scatter, links.reduce_scatter());
  progress.advance(4);
  fill(profile.all_reduce, links.all_reduce());
  progress.end();
}

}  // namespace rondo
