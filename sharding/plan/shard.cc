#include "sharding/plan/shard.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "sharding/base/check.h"

namespace rondo {
namespace {

int64_t column_shards(const TableSpec& spec, int world) { return spec.column_shards > 0 ? spec.column_shards : world; }

/// "1, 2, 4": the numbers of ranks that could share `dim` columns.
std::string divisors(int64_t dim, int world) {
  std::string text;
  for (int64_t n = 1; n <= std::min<int64_t>(dim, world); ++n) {
    if (dim % n == 0) text += concat(text.empty() ? "" : ", ", n);
  }
  return text;
}

void validate_columns(const TableSpec& spec, const std::string& owner, int world) {
  const int64_t shards = column_shards(spec, world);
  if (shards > world) {
    throw ConfigError(concat(owner, "column_shards is ", shards, ", and the world has ", world, " ranks"));
  }
  if (shards > spec.dim) {
    throw ConfigError(concat(owner, "column_wise can use at most dim = ", spec.dim, " ranks, got ", shards,
                             "; set column_shards to one of ", divisors(spec.dim, world)));
  }
  if (spec.dim % shards != 0) {
    throw ConfigError(concat(owner, "dim ", spec.dim, " cannot be divided into ", shards,
                             " equal ranges of columns; set column_shards to one of ", divisors(spec.dim, world)));
  }
}

bool needs_owner(const TableSpec& spec) {
  return spec.placement == Placement::kTableWise || spec.placement == Placement::kColumnWise;
}

/// Scalars that a table puts on each of its ranks.
int64_t load_of(const TableSpec& spec, int64_t usual_rows, int world) {
  const int64_t ranks = spec.placement == Placement::kColumnWise ? column_shards(spec, world) : 1;
  return (spec.rows > 0 ? spec.rows : usual_rows) * (spec.dim / ranks);
}

int64_t median_rows(const std::vector<TableSpec>& specs) {
  std::vector<int64_t> rows;
  for (const TableSpec& spec : specs) {
    if (spec.rows > 0) rows.push_back(spec.rows);
  }
  if (rows.empty()) return 1;
  const auto middle = rows.begin() + static_cast<int64_t>(rows.size() / 2);
  std::nth_element(rows.begin(), middle, rows.end());
  return *middle;
}

/// Adds what `spec` puts on its ranks if its first one were `owner`.
void add_load(const TableSpec& spec, int owner, int64_t load, std::vector<int64_t>& loads) {
  const auto world = static_cast<int64_t>(loads.size());
  const int64_t ranks = spec.placement == Placement::kColumnWise ? column_shards(spec, static_cast<int>(world)) : 1;
  for (int64_t i = 0; i < ranks; ++i) loads[static_cast<size_t>((owner + i) % world)] += load;
}

}  // namespace

Shard whole_table(const TableSpec& spec) { return {{0, spec.buckets}, {0, spec.dim}}; }

void validate_placement(const TableSpec& spec, int world) {
  const std::string owner = concat("table \"", spec.name, "\": ");
  if (spec.owner >= world) {
    throw ConfigError(concat(owner, "owner is rank ", spec.owner, ", and the world has ", world, " ranks: 0 to ",
                             world - 1, "; -1 lets the plan choose"));
  }
  if (spec.placement == Placement::kColumnWise) validate_columns(spec, owner, world);
}

std::vector<int> column_owners(const TableSpec& spec, int world) {
  RONDO_CHECK(spec.placement == Placement::kColumnWise && spec.owner >= 0, "table ", spec.name);
  std::vector<int> owners(static_cast<size_t>(column_shards(spec, world)));
  for (size_t i = 0; i < owners.size(); ++i) owners[i] = (spec.owner + static_cast<int>(i)) % world;
  return owners;
}

Shard shard_of_rank(const TableSpec& spec, int rank, int world) {
  const Shard whole = whole_table(spec);
  const Shard none{{0, 0}, whole.columns};
  switch (spec.placement) {
    case Placement::kReplicated:
      return whole;
    case Placement::kRowWise:
      return {buckets_of_rank(spec.buckets, rank, world), whole.columns};
    case Placement::kTableWise:
      RONDO_CHECK_GE(spec.owner, 0, "table ", spec.name);
      return rank == spec.owner ? whole : none;
    case Placement::kColumnWise: {
      const std::vector<int> owners = column_owners(spec, world);
      const auto at = std::ranges::find(owners, rank);
      if (at == owners.end()) return none;
      const int64_t width = spec.dim / static_cast<int64_t>(owners.size()), first = (at - owners.begin()) * width;
      return {whole.buckets, {first, first + width}};
    }
  }
  throw InternalError(concat("placement of table ", spec.name));
}

void assign_owners(std::vector<TableSpec>& specs, int world) {
  const int64_t usual = median_rows(specs);
  std::vector<int64_t> loads(static_cast<size_t>(world));
  std::vector<size_t> open;
  for (size_t t = 0; t < specs.size(); ++t) {
    if (!needs_owner(specs[t])) continue;
    if (specs[t].owner == kAnyRank) {
      open.push_back(t);
    } else {
      add_load(specs[t], specs[t].owner, load_of(specs[t], usual, world), loads);
    }
  }
  std::ranges::stable_sort(
      open, [&](size_t a, size_t b) { return load_of(specs[a], usual, world) > load_of(specs[b], usual, world); });
  for (const size_t t : open) {
    specs[t].owner = static_cast<int>(std::ranges::min_element(loads) - loads.begin());
    add_load(specs[t], specs[t].owner, load_of(specs[t], usual, world), loads);
  }
}

}  // namespace rondo
