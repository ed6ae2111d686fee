#include "tests/bench/id_stream.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "sharding/base/hash.h"

namespace rondo::bench {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

enum class StreamKind : uint64_t { kIds = 0, kLengths = 1 };

uint64_t split_mix(uint64_t x) { return mix64(x + kGolden); }

uint64_t stream_base(uint64_t seed, StreamKind kind, const StreamPlace& place) {
  uint64_t base = split_mix(seed);
  for (const uint64_t part : {static_cast<uint64_t>(kind), static_cast<uint64_t>(place.batch),
                              static_cast<uint64_t>(place.rank), static_cast<uint64_t>(place.table)}) {
    base = split_mix(base ^ (part * kGolden));
  }
  return base;
}

/// In [0, 1).
double uniform_at(uint64_t base, int64_t position) {
  return static_cast<double>(split_mix(base + static_cast<uint64_t>(position) * kGolden) >> 11) * 0x1.0p-53;
}

uint64_t scatter_multiplier(uint64_t rows) {
  uint64_t multiplier = std::max<uint64_t>(1, rows > 1 ? 2654435761ULL % rows : 1);
  while (std::gcd(multiplier, rows) != 1) ++multiplier;
  return multiplier;
}

/// Inverse of the distribution with density x^-alpha on [1, rows + 1), from 0.
int64_t power_law_rank(double uniform, int64_t rows, double alpha) {
  const double end = static_cast<double>(rows) + 1.0;
  double x = 0.0;
  if (alpha == 0.0) {
    x = 1.0 + uniform * static_cast<double>(rows);
  } else if (std::abs(alpha - 1.0) < 1e-9) {
    x = std::pow(end, uniform);
  } else {
    const double exponent = 1.0 - alpha;
    x = std::pow((std::pow(end, exponent) - 1.0) * uniform + 1.0, 1.0 / exponent);
  }
  return std::min(rows - 1, static_cast<int64_t>(x) - 1);
}

std::string listed(const std::vector<int64_t>& values) {
  std::ostringstream text;
  for (size_t i = 0; i < values.size(); ++i) text << (i == 0 ? "" : ", ") << values[i];
  return "[" + text.str() + "]";
}

}  // namespace

IdStream::IdStream(const IdStreamOptions& options) : options_(options) {
  if (options_.scatter) multiplier_ = scatter_multiplier(static_cast<uint64_t>(options_.rows));
}

int64_t IdStream::length(const StreamPlace& place, int64_t example) const {
  if (!options_.uniform_lengths) return options_.pooling;
  const uint64_t base = stream_base(options_.seed, StreamKind::kLengths, place);
  return 1 + static_cast<int64_t>(uniform_at(base, example) * static_cast<double>(2 * options_.pooling - 1));
}

int64_t IdStream::id_at(uint64_t base, int64_t position, int64_t table) const {
  const int64_t rank = power_law_rank(uniform_at(base, position), options_.rows, options_.alpha);
  if (!options_.scatter) return rank;
  return static_cast<int64_t>((static_cast<uint64_t>(rank) * multiplier_ + static_cast<uint64_t>(table) * 7919) %
                              static_cast<uint64_t>(options_.rows));
}

int64_t IdStream::id(const StreamPlace& place, int64_t position) const {
  return id_at(stream_base(options_.seed, StreamKind::kIds, place), position, place.table);
}

std::vector<int64_t> IdStream::offsets(const StreamPlace& place) const {
  std::vector<int64_t> offsets(static_cast<size_t>(options_.batch + 1));
  for (int64_t b = 0; b < options_.batch; ++b) {
    offsets[static_cast<size_t>(b + 1)] = offsets[static_cast<size_t>(b)] + length(place, b);
  }
  return offsets;
}

std::vector<int64_t> IdStream::ids(const StreamPlace& place, int64_t count) const {
  const uint64_t base = stream_base(options_.seed, StreamKind::kIds, place);
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) ids[static_cast<size_t>(i)] = id_at(base, i, place.table);
  return ids;
}

std::string dump_ids(const IdStreamOptions& options, int64_t count) {
  const IdStream stream(options);
  std::ostringstream text;
  for (const StreamPlace& place :
       {StreamPlace{0, 0, 0}, StreamPlace{0, 1, 0}, StreamPlace{1, 0, std::min<int64_t>(1, options.tables - 1)}}) {
    std::vector<int64_t> lengths;
    for (int64_t b = 0; b < std::min<int64_t>(4, options.batch); ++b) lengths.push_back(stream.length(place, b));
    text << "batch=" << place.batch << " rank=" << place.rank << " table=" << place.table
         << " lengths=" << listed(lengths) << " ids=" << listed(stream.ids(place, count)) << "\n";
  }
  return text.str();
}

}  // namespace rondo::bench
