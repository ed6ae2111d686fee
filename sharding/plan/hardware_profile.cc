#include "sharding/plan/hardware_profile.h"

#include <algorithm>
#include <cmath>

#include "sharding/base/check.h"

namespace rondo {
namespace {

/// Where `value` lies among ascending sizes: the point below, the one above, and how far on the way between them, by
/// logarithms. Outside of all: the nearest twice.
struct Between {
  size_t below = 0;
  size_t above = 0;
  double share = 0;
};

template <typename Point, typename Size>
Between locate(const std::vector<Point>& points, double value, const Size& size) {
  const auto above = std::find_if(points.begin(), points.end(), [&](const Point& p) { return size(p) >= value; });
  if (above == points.begin()) return {};
  const auto last = static_cast<size_t>(std::distance(points.begin(), above)) - 1;
  if (above == points.end()) return {last, last, 0.0};
  const double low = std::log(size(points[last])), high = std::log(size(*above));
  return {last, last + 1, (std::log(value) - low) / (high - low)};
}

WorkRate mix(const WorkRate& a, const WorkRate& b, double share) {
  return {std::lerp(a.item_seconds, b.item_seconds, share), std::lerp(a.byte_seconds, b.byte_seconds, share)};
}

class Checker {
 public:
  explicit Checker(std::string profile) : owner_("profile \"" + std::move(profile) + "\": ") {}

  void positive(const std::string& field, double value) const {
    require(std::isfinite(value) && value > 0.0, field, "finite and > 0", value);
  }
  void not_negative(const std::string& field, double value) const {
    require(std::isfinite(value) && value >= 0.0, field, "finite and >= 0", value);
  }
  void ascending(const std::string& field, double last, double value) const {
    require(value > last, field, "larger than the one before", value);
  }
  void work(const std::string& field, const WorkRate& rate) const {
    not_negative(field + ".item_seconds", rate.item_seconds);
    not_negative(field + ".byte_seconds", rate.byte_seconds);
  }
  void way(const std::string& field, const WayRates& rates) const {
    work(field + ".ask", rates.ask);
    work(field + ".hear", rates.hear);
    work(field + ".pool", rates.pool);
    work(field + ".unpool", rates.unpool);
    work(field + ".leaf", rates.leaf);
    work(field + ".answer", rates.answer);
    work(field + ".merge", rates.merge);
    require(!rates.memory.empty(), field + ".memory", "at least one", 0.0);
    double last = 0.0;
    for (const MemoryPoint& point : rates.memory) {
      ascending(field + ".memory.table_bytes", last, point.table_bytes);
      work(field + ".memory.find", point.find);
      work(field + ".memory.gather", point.gather);
      work(field + ".memory.update", point.update);
      last = point.table_bytes;
    }
  }
  void link(const std::string& field, const LinkCost& cost) const {
    not_negative(field + ".call_seconds", cost.call_seconds);
    not_negative(field + ".message_seconds", cost.message_seconds);
    require(!cost.rates.empty(), field + ".rates", "at least one", 0.0);
    double last = 0.0;
    for (const RatePoint& point : cost.rates) {
      ascending(field + ".rates.message_bytes", last, point.message_bytes);
      positive(field + ".rates.bytes_per_second", point.bytes_per_second);
      last = point.message_bytes;
    }
  }
  void collective(const std::string& field, const CollectiveCost& cost) const {
    link(field + ".within", cost.within);
    link(field + ".across", cost.across);
  }
  void require(bool holds, const std::string& field, const char* range, double value) const {
    if (!holds) throw ConfigError(concat(owner_, field, " must be ", range, ", got ", value));
  }

 private:
  std::string owner_;
};

}  // namespace

double LinkCost::rate(double message_bytes) const {
  const Between at = locate(rates, message_bytes, [](const RatePoint& p) { return p.message_bytes; });
  const double low = rates[at.below].bytes_per_second, high = rates[at.above].bytes_per_second;
  return low * std::pow(high / low, at.share);
}

MemoryPoint WayRates::at(double table_bytes) const {
  const Between place = locate(memory, table_bytes, [](const MemoryPoint& p) { return p.table_bytes; });
  const MemoryPoint &a = memory[place.below], &b = memory[place.above];
  return {table_bytes, mix(a.find, b.find, place.share), mix(a.gather, b.gather, place.share),
          mix(a.update, b.update, place.share)};
}

void validate(const HardwareProfile& profile) {
  const Checker check(profile.name);
  check.positive("memory_bytes", profile.memory_bytes);
  check.require(profile.ranks_per_node >= 1, "ranks_per_node", ">= 1", profile.ranks_per_node);
  check.collective("all_to_all", profile.all_to_all);
  check.collective("all_gather", profile.all_gather);
  check.collective("reduce_scatter", profile.reduce_scatter);
  check.collective("all_reduce", profile.all_reduce);
  check.not_negative("step_seconds", profile.step_seconds);
  check.not_negative("table_seconds", profile.table_seconds);
  check.not_negative("peer_step_seconds", profile.peer_step_seconds);
  check.not_negative("peer_table_seconds", profile.peer_table_seconds);
  check.way("rows", profile.rows);
  check.way("sums", profile.sums);
  check.not_negative("flops_per_second", profile.flops_per_second);
}

LinearCost cost_near(const CollectiveCost& cost, int ranks_per_node, int world, double bytes) {
  LinearCost total;
  if (world <= 1) return total;
  const int peers = world - 1, within = std::min(ranks_per_node, world) - 1;
  double call = 0.0;
  const auto add = [&](const LinkCost& link, int messages) {
    if (messages == 0) return;
    call = std::max(call, link.call_seconds);
    total.fixed_seconds += messages * link.message_seconds;
    total.byte_seconds += messages / (peers * link.rate(bytes / peers));
  };
  add(cost.within, within);
  add(cost.across, peers - within);
  total.fixed_seconds += call;
  return total;
}

}  // namespace rondo
