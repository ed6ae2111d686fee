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
  /// REQUIRES: a valid spec (of a table-wise table: with its owner), 1 <= world.
  KeyPlacement(const TableSpec& spec, int world);

  /// Position of the largest key outside a dense table; -1: there is none. Hashed tables take every key.
  int64_t first_outside(std::span<const uint64_t> keys) const;

  /// Throws DataError naming table, key and rows for such a key.
  void check_keys(std::span<const uint64_t> keys) const;

  /// REQUIRES: a key that check_keys takes.
  int64_t bucket(uint64_t key) const {
    return layout_ ? layout_->bucket(layout_->place(key)) : bucket_of(key, buckets_);
  }

  /// The rank that holds `key` of a row-wise or table-wise table.
  int owner(uint64_t key) const {
    return only_owner_ >= 0 ? only_owner_ : owner_of_bucket(bucket(key), buckets_, world_);
  }

  /// The rank that holds all keys; -1: there is more than one.
  int only_owner() const { return only_owner_; }

  /// Of a dense table.
  const DenseLayout& layout() const { return *layout_; }

 private:
  std::string name_;
  int64_t buckets_;
  int world_;
  int only_owner_;
  std::optional<DenseLayout> layout_;  // dense tables
};

}  // namespace rondo
