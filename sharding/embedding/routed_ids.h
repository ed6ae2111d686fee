#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rondo {

/// Where the ids of one feature begin among those of its table; for messages.
struct FeatureStart {
  std::string name;
  int64_t first = 0;
};

/// The ids of one table in this rank's share of a batch whose rows come back one by one: those of all its sequence
/// features, one after the other.
struct TableIds {
  at::Tensor keys;      // int64 [n] (the bits of uint64 row keys); n may be 0
  int64_t counted = 0;  // the first `counted` of them enter the popularity count (targets do, history does not)
  std::vector<FeatureStart> features = {};  // by `first`; may be empty
};

/// How a bag of rows becomes one vector: their sum, their mean, or their sum with weights. An empty bag is zero.
enum class Pooling : uint8_t { kSum, kMean, kWeighted };

/// A feature whose bags of ids come back as one vector each. Several features may share a table, also with TableIds.
struct PooledFeature {
  std::string name;
  int64_t table = 0;
  at::Tensor keys;     // int64 [n]
  at::Tensor offsets;  // int64 [batch + 1]: bag b holds keys [offsets[b], offsets[b + 1])
  Pooling pooling = Pooling::kSum;
  at::Tensor weights = {};  // kWeighted: [n] of the table's row type; constants, they take no gradient
  int64_t counted = 0;      // the first `counted` keys enter the popularity count
};

enum class LookupMode : uint8_t {
  kTrain,     ///< a key without a row gets one
  kEvaluate,  ///< a key without a row reads as zeros, untrained; no row is made
};

/// Bags over a matrix of rows: bag b sums weights[i] * rows[positions[i]] for i in [offsets[b], offsets[b + 1]).
struct BagList {
  at::Tensor positions = {};  // int64 [n]; undefined: entry i is row first + i
  at::Tensor offsets = {};    // int64 [bags + 1]
  at::Tensor weights = {};    // [n] of the row type, or undefined for ones
  int64_t first = 0;

  bool defined() const { return offsets.defined(); }
  int64_t bags() const { return offsets.defined() ? offsets.size(0) - 1 : 0; }
};

/// The keys of one part of a table (TablePart), this rank's and those that others ask of this rank. "Home": keys whose
/// rows come back; the others' are summed into bags where they are. Within the keys for one rank the home ones come
/// first. A table of which a rank asks sums of bags alone is sent its ids as they are ("raw"): `keys` stays empty, and
/// what counts keys counts ids.
struct RoutedPart {
  std::vector<uint64_t> keys;          // [k] distinct; for a part that one rank a key holds, grouped by it
  std::vector<int64_t> occurrences;    // [k], counted ids of this rank
  std::vector<int64_t> send_rows;      // [world], keys to each rank
  std::vector<int64_t> send_home;      // [world]
  std::vector<int64_t> receive_rows;   // [world], keys asked of this rank by each
  std::vector<int64_t> receive_home;   // [world]
  std::vector<int64_t> send_attached;  // [world], words of bag entries; empty: none on any rank
  std::vector<BagList> asked_bags;     // [features * world] over the keys that a rank sent; undefined: none
  std::vector<int64_t> slots;          // [sum(receive_rows)] in this rank's store, -1: no row
  int64_t first_home = 0;              // place of the part's home rows among the table's
  int64_t home = 0;                    // their number

  // Training only: the distinct rows of this rank that are asked for, in the order of (rank, position).
  std::vector<int64_t> updated;              // [u], slots
  std::vector<uint64_t> updated_keys;        // [u]
  std::vector<int64_t> updated_occurrences;  // [u], counted ids of the global batch
  std::vector<int64_t>
      update_of;  // [sum(receive_rows)], place in `updated`; empty if one rank alone asks, for distinct keys
};

struct RoutedTable {
  int64_t distinct = 0;           // rows that come back
  at::Tensor positions;           // int64 [n]: ids[i] of TableIds is row positions[i] of them
  std::vector<RoutedPart> parts;  // the table's, or its hot rows after the rest
};

/// What becomes of one pooled feature on the rank that asks.
struct RoutedFeature {
  std::string name;
  size_t table = 0;
  Pooling pooling = Pooling::kSum;
  at::Tensor offsets;  // as given
  BagList here;        // over the rows that come back; with partial sums over the keys of the table's hot part
  at::Tensor scale;    // [batch, 1], with partial sums and kMean: 1 / size of a bag
};

/// Where the ids of a batch go and how their rows come back. Made by ShardedEmbedding::route, opaque to others but for
/// `positions` and `distinct`. May be routed into again: memory is kept.
struct RoutedIds {
  LookupMode mode = LookupMode::kTrain;
  std::vector<RoutedTable> tables;
  std::vector<RoutedFeature> pooled;
};

/// The rows of a batch, one entry a table.
struct TableRows {
  at::Tensor values;   // [distinct, dim], fp32 (fp64 of fp64 rows); the autograd leaf when routed for training
  at::Tensor counts;   // float32 [distinct]: decayed popularity count before this step
  at::Tensor trained;  // bool [distinct]: was the row ever updated
};

}  // namespace rondo
