#include "sharding/plan/table_statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sharding/base/check.h"

namespace rondo {
namespace {

constexpr double kFirstRows = 64;  // summed one by one
constexpr double kRunRatio = 1.05;

/// 1 - (1 - p)^draws.
double chance_of_any(double p, double draws) { return p >= 1.0 ? 1.0 : -std::expm1(draws * std::log1p(-p)); }

/// Integral of t^-alpha over [1, x].
double power_integral(double x, double alpha) {
  const double log_x = std::log(x), slope = 1.0 - alpha;
  return std::abs(slope) < 1e-12 ? log_x : std::expm1(slope * log_x) / slope;
}

/// Value at `ids` of the curve, by straight lines between the logarithms; beyond the last point its slope goes on.
double read_curve(const std::vector<DistinctPoint>& curve, double ids) {
  const auto above = std::find_if(curve.begin(), curve.end(), [&](const DistinctPoint& p) { return p.ids >= ids; });
  if (above == curve.begin()) return curve.front().distinct * ids / curve.front().ids;
  const auto& right = above == curve.end() ? curve.back() : *above;
  if (curve.size() == 1) return right.distinct;
  const auto& left = above == curve.end() ? curve[curve.size() - 2] : *(above - 1);
  const double slope = std::log(right.distinct / left.distinct) / std::log(right.ids / left.ids);
  return left.distinct * std::pow(ids / left.ids, slope);
}

}  // namespace

void validate(const TableStatistics& statistics, const std::string& table) {
  const auto require = [&](bool holds, const char* field, const char* range, double value) {
    if (!holds) throw ConfigError(concat("table \"", table, "\": ", field, " must be ", range, ", got ", value));
  };
  const auto finite_and_positive = [](double value) { return std::isfinite(value) && value >= 0.0; };
  require(finite_and_positive(statistics.ids_per_example), "ids_per_example", "finite and >= 0",
          statistics.ids_per_example);
  require(finite_and_positive(statistics.bags_per_example), "bags_per_example", "finite and >= 0",
          statistics.bags_per_example);
  require(finite_and_positive(statistics.skew) && statistics.skew <= 10.0, "skew", "in [0, 10]", statistics.skew);
  DistinctPoint last{0.0, 0.0};
  for (const DistinctPoint& point : statistics.measured) {
    require(point.ids > last.ids && std::isfinite(point.ids), "measured ids", "finite and ascending", point.ids);
    require(point.distinct >= last.distinct && point.distinct > 0.0 && point.distinct <= point.ids, "measured distinct",
            "ascending, positive and at most ids", point.distinct);
    last = point;
  }
}

PowerLaw::PowerLaw(int64_t rows, double alpha)
    : rows_(static_cast<double>(rows)), alpha_(alpha), total_(power_integral(rows_ + 1.0, alpha)) {
  RONDO_CHECK(rows >= 1 && alpha >= 0.0, rows, " rows, alpha ", alpha);
}

double PowerLaw::mass(double from, double to) const {
  return (power_integral(to, alpha_) - power_integral(from, alpha_)) / total_;
}

double PowerLaw::share_of_first(double count) const { return mass(1.0, 1.0 + std::clamp(count, 0.0, rows_)); }

double PowerLaw::distinct_of_first(double count, double draws) const {
  if (draws <= 0.0) return 0.0;
  const double last = std::min(count, rows_);
  double sum = 0.0, from = 1.0;
  for (; from <= std::min(kFirstRows, last); from += 1.0) sum += chance_of_any(mass(from, from + 1.0), draws);
  while (from <= last) {
    const double to = std::min(last + 1.0, std::ceil(from * kRunRatio));
    sum += (to - from) * chance_of_any(mass(from, to) / (to - from), draws);
    from = to;
  }
  return sum;
}

double expected_distinct(const TableStatistics& statistics, int64_t rows, double ids) {
  if (ids <= 0.0) return 0.0;
  const double most = rows > 0 ? std::min(ids, static_cast<double>(rows)) : ids;
  if (!statistics.measured.empty()) return std::min(most, read_curve(statistics.measured, ids));
  return rows > 0 ? std::min(most, PowerLaw(rows, statistics.skew).distinct(ids)) : ids;
}

}  // namespace rondo
