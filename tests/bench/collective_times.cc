#include "tests/bench/collective_times.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "sharding/base/check.h"
#include "sharding/base/stopwatch.h"

namespace rondo::bench {
namespace {

const std::map<Collective, const char*> kNames{{Collective::kAllReduce, "all_reduce"},
                                               {Collective::kReduceScatter, "reduce_scatter"},
                                               {Collective::kAllGather, "all_gather"},
                                               {Collective::kAllToAll, "all_to_all"},
                                               {Collective::kBroadcast, "broadcast"}};

/// One collective with its tensors: rank r gives r + 1 everywhere.
class Operation {
 public:
  Operation(Communicator& comm, Collective collective, int64_t bytes, at::DeviceType device)
      : comm_(comm), collective_(collective), rows_(static_cast<size_t>(comm.size())) {
    const int64_t count = bytes / static_cast<int64_t>(sizeof(float)), share = count / comm.size();
    RONDO_CHECK_EQ(share * comm.size(), count, "floats of ", bytes, " bytes among the ranks");
    rows_.assign(rows_.size(), share);
    const auto options = at::TensorOptions(at::kFloat).device(device);
    const double mine = comm.rank() + 1.0;
    input_ = at::full({collective == Collective::kAllGather ? share : count}, mine, options);
    output_ = at::full({collective == Collective::kReduceScatter ? share : count}, 0.0, options);
  }

  void run() {
    const CallTag tag{Channel::kExchange, kNames.at(collective_)};
    switch (collective_) {
      case Collective::kAllReduce:
        return comm_.all_reduce(input_, tag)->wait();
      case Collective::kReduceScatter:
        return comm_.reduce_scatter(input_, output_, rows_, tag)->wait();
      case Collective::kAllGather:
        return comm_.all_gather(input_, output_, rows_, tag)->wait();
      case Collective::kAllToAll:
        return comm_.all_to_all(input_, rows_, output_, rows_, tag)->wait();
      case Collective::kBroadcast:
        return comm_.broadcast(input_, /*root=*/0, tag)->wait();
    }
  }

  /// After the first run. The sums are whole numbers, exact in any order.
  bool correct() const {
    const int world = comm_.size();
    const double sum = world * (world + 1) / 2.0;
    if (collective_ == Collective::kAllReduce) return all_are(input_, sum);
    if (collective_ == Collective::kReduceScatter) return all_are(output_, sum);
    if (collective_ == Collective::kBroadcast) return all_are(input_, 1.0);
    for (int rank = 0; rank < world; ++rank) {
      const int64_t share = rows_[static_cast<size_t>(rank)];
      if (!all_are(output_.narrow(0, rank * share, share), rank + 1.0)) return false;
    }
    return true;
  }

 private:
  static bool all_are(const at::Tensor& values, double expected) { return values.eq(expected).all().item<bool>(); }

  Communicator& comm_;
  Collective collective_;
  std::vector<int64_t> rows_;
  at::Tensor input_, output_;
};

CollectiveTime time_one(Communicator& comm, Collective collective, int64_t bytes,
                        const CollectiveTimesOptions& options) {
  constexpr CallTag kBetween{Channel::kControl, "between timings"};
  Operation operation(comm, collective, bytes, options.device);
  operation.run();
  CollectiveTime time{
      .collective = collective, .bytes = bytes, .seconds = 0, .bandwidth = {}, .correct = operation.correct()};
  for (int i = 0; i < options.warmup; ++i) operation.run();
  comm.barrier(kBetween);  // also waits for the devices
  const Stopwatch watch;
  for (int i = 0; i < options.repeats; ++i) operation.run();
  comm.barrier(kBetween);
  time.seconds = watch.seconds() / options.repeats;
  time.bandwidth = bandwidth_of(collective, comm.size(), bytes, time.seconds);
  return time;
}

}  // namespace

Bandwidth bandwidth_of(Collective collective, int world, int64_t bytes, double seconds) {
  const double algorithm = static_cast<double>(bytes) / seconds / 1e9;
  const double share = (world - 1.0) / world;
  switch (collective) {
    case Collective::kAllReduce:
      return {algorithm, algorithm * 2.0 * share};
    case Collective::kBroadcast:
      return {algorithm, algorithm};
    default:
      return {algorithm, algorithm * share};
  }
}

std::vector<CollectiveTime> time_collectives(Communicator& comm, const CollectiveTimesOptions& options) {
  std::vector<CollectiveTime> times;
  for (const auto& [collective, name] : kNames) {
    for (const int64_t bytes : options.bytes) {
      const int64_t unit = static_cast<int64_t>(sizeof(float)) * comm.size();
      times.push_back(time_one(comm, collective, (bytes + unit - 1) / unit * unit, options));
    }
  }
  return times;
}

std::string text_of(const std::vector<CollectiveTime>& times, int world, const std::string& backend) {
  std::string text = "operation              bytes         us   algbw GB/s   busbw GB/s  correct\n";
  nlohmann::ordered_json result{{"backend", backend}, {"world", world}};
  for (const CollectiveTime& time : times) {
    char line[128];
    std::snprintf(line, sizeof line, "%-16s %11lld %10.1f %12.2f %12.2f  %s\n", kNames.at(time.collective),
                  static_cast<long long>(time.bytes), 1e6 * time.seconds, time.bandwidth.algorithm, time.bandwidth.bus,
                  time.correct ? "yes" : "NO");
    text += line;
    result["collectives"].push_back({{"operation", kNames.at(time.collective)},
                                     {"bytes", time.bytes},
                                     {"us", 1e6 * time.seconds},
                                     {"algbw_gb_s", time.bandwidth.algorithm},
                                     {"busbw_gb_s", time.bandwidth.bus},
                                     {"correct", time.correct}});
  }
  return text + "RESULT " + result.dump() + "\n";
}

}  // namespace rondo::bench
