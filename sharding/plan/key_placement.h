#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "sharding/plan/dense_layout.h"
#include "sharding/plan/table_spec.h"

namespace rondo {

/// Bucket and owner of the keys of one table. What routing and the store agree on.
class KeyPlacement {
 public:
  /// REQUIRES: a valid spec, 1 <= world.
  KeyPlacement(const TableSpec& spec, int world);

  /// Throws DataError naming table, key and rows for a key outside a dense table. Hashed tables take every key.
  void check_keys(std::span<const uint64_t> keys) const;

  /// REQUIRES: a key that check_keys takes.
  int64_t bucket(uint64_t key) const {
    return layout_ ? layout_->bucket(layout_->place(key)) : bucket_of(key, buckets_);
  }

  /// The rank that holds `key` of a row-wise table.
  int owner(uint64_t key) const { return world_ == 1 ? 0 : owner_of_bucket(bucket(key), buckets_, world_); }

  /// Of a dense table.
  const DenseLayout& layout() const { return *layout_; }

 private:
  std::string name_;
  int64_t buckets_;
  int world_;
  std::optional<DenseLayout> layout_;  // dense tables
};

}  // namespace rondo
