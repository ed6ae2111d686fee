#pragma once

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "sharding/base/check.h"
#include "sharding/base/random.h"
#include "sharding/embedding/sharded_embedding.h"
#include "trainer/checkpoint/checkpoint_content.h"

namespace rondo::testing {

/// The state of a job bit for bit: every bucket and every dense tensor by name. Ranks add their parts, in any order;
/// what several ranks hold must be equal.
class Snapshot {
 public:
  void add(const std::string& name, std::string bytes) {
    const std::lock_guard lock(mutex_);
    const auto [place, fresh] = parts_.try_emplace(name, std::move(bytes));
    EXPECT_TRUE(fresh || place->second == bytes) << name << " differs between ranks";
  }

  /// Names of what differs; empty: equal.
  std::string difference(const Snapshot& other) const {
    std::string names;
    for (const auto& [name, bytes] : parts_) {
      const auto found = other.parts_.find(name);
      if (found == other.parts_.end() || found->second != bytes) names += name + " ";
    }
    return parts_.size() == other.parts_.size() ? names : names + "(other parts)";
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> parts_;
};

/// A job small enough for tests of checkpoints, whose every bit is a function of (seed, step), whatever the world: in a
/// step each key is asked for by one rank alone, so no sum depends on an order.
class TinyJob {
 public:
  explicit TinyJob(Communicator& comm, uint64_t seed = 7, std::vector<TableSpec> tables = all_kinds())
      : comm_(comm), embedding_(std::move(tables), seed, comm) {
    content_.seed = seed;
    content_.job_digest = "digest of a tiny job";
    content_.embedding = &embedding_;
    content_.texts = {{"job.textproto", "name: \"tiny\"\n"}, {"vocabulary.txt", std::string("a\n\0\xff b\n", 7)}};
    content_.dense = {{"tower.weight", at::empty({3, 5})},     {"tower.weight.m", at::empty({3, 5}, at::kDouble)},
                      {"scale", at::empty({}, at::kBFloat16)}, {"empty", at::empty({0, 4})},
                      {"mask", at::empty({6}, at::kBool)},     {"cube", at::empty({2, 1, 2, 1, 2}, at::kLong)}};
    for (const NamedTensor& tensor : content_.dense) tensor.value.zero_();
  }

  static std::vector<TableSpec> all_kinds() {
    return {
        {.name = "item", .dim = 6, .buckets = 64, .optimizer = {.kind = RowOptimizerKind::kAdam}},
        {.name = "user", .dim = 3, .buckets = 16, .optimizer = {.kind = RowOptimizerKind::kRowWiseAdagrad}},
        {.name = "brand",
         .dim = 2,
         .key_space = KeySpace::kDense,
         .rows = 41,
         .buckets = 4,
         .placement = Placement::kReplicated,
         .optimizer = {.kind = RowOptimizerKind::kSgd}},
        {.name = "price",
         .dim = 1,
         .key_space = KeySpace::kDense,
         .rows = 30,
         .buckets = 8,
         .row_type = RowType::kFloat64},
        {.name = "unused", .dim = 4, .buckets = 2},
        {.name = "half",
         .dim = 3,
         .buckets = 16,
         .row_type = RowType::kFloat16,
         .optimizer = {.kind = RowOptimizerKind::kRowWiseAdam}},
        {.name = "brain_half",
         .dim = 5,
         .buckets = 8,
         .row_type = RowType::kBFloat16,
         .optimizer = {.kind = RowOptimizerKind::kAdagrad}},
        {.name = "genre", .dim = 5, .buckets = 32, .placement = Placement::kTableWise},
        {.name = "tag",
         .dim = 84,
         .buckets = 8,
         .placement = Placement::kColumnWise,
         .optimizer = {.kind = RowOptimizerKind::kRowWiseAdam}},
    };
  }

  CheckpointContent& content() { return content_; }
  ShardedEmbedding& embedding() { return embedding_; }

  void train_to(int64_t step) {
    while (content_.step < step) train_step();
  }

  /// Adds what this rank holds: each bucket, and each column of its rows.
  void add_to(Snapshot& snapshot) const {
    for (int64_t t = 0; t < embedding_.tables(); ++t) {
      const BucketRange range = embedding_.buckets(t);
      for (int64_t bucket = range.first; bucket < range.last; ++bucket) add_bucket(t, bucket, snapshot);
    }
    for (const NamedTensor& tensor : content_.dense) snapshot.add(tensor.name, bytes_of(tensor.value));
    snapshot.add("position", concat(content_.step, " ", content_.cursor.epoch, " ", content_.cursor.next));
  }

 private:
  static constexpr int64_t kKeysPerStep = 37;

  void add_bucket(int64_t table, int64_t bucket, Snapshot& snapshot) const {
    const TableSpec& spec = embedding_.spec(table);
    const std::string name = concat(spec.name, "/", bucket);
    const BucketRows rows = embedding_.export_buckets(table, {bucket, bucket + 1}).rows;
    const ColumnRange columns = embedding_.columns(table);
    const StateShape shape = state_shape(spec.optimizer.kind);
    const at::Tensor of_rows = rows.state.narrow(1, shape.per_column * columns.count(), shape.per_row).contiguous();
    snapshot.add(name, bytes_of(rows.keys) + bytes_of(of_rows) + bytes_of(rows.counts) + bytes_of(rows.versions));
    for (int64_t c = 0; c < columns.count(); ++c) {
      std::string bytes = bytes_of(rows.values.select(1, c).contiguous());
      for (int64_t block = 0; block < shape.per_column; ++block) {
        bytes += bytes_of(rows.state.select(1, block * columns.count() + c).contiguous());
      }
      snapshot.add(concat(name, "/", columns.first + c), std::move(bytes));
    }
  }

  template <typename T>
  static std::string bytes_of(const std::vector<T>& values) {
    return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
  }
  static std::string bytes_of(const at::Tensor& values) {
    return {static_cast<const char*>(values.const_data_ptr()), values.nbytes()};
  }

  void train_step() {
    const int64_t step = ++content_.step;
    content_.cursor = {step / 5, step % 5 * kKeysPerStep};
    const CounterRandom random(content_.seed, static_cast<uint64_t>(step), RandomPurpose::kTest);
    std::vector<TableIds> ids;
    for (int64_t t = 0; t < embedding_.tables(); ++t) ids.push_back(ids_of(t, random));
    const RoutedIds routed = embedding_.route(ids, LookupMode::kTrain);
    std::vector<TableRows> rows = embedding_.forward(routed, step);
    for (size_t t = 0; t < rows.size(); ++t) set_gradients(routed.tables[t], rows[t].values, random);
    embedding_.backward(routed, rows, step, 1.0 / static_cast<double>(step));
    for (const NamedTensor& tensor : content_.dense) {
      const auto added = static_cast<double>(random.below(100, tensor.name.size(), 0));
      tensor.value.copy_(tensor.value.to(at::kDouble).mul(0.5).add(added));
    }
  }

  TableIds ids_of(int64_t table, const CounterRandom& random) const {
    const TableSpec& spec = embedding_.spec(table);
    std::vector<int64_t> mine;
    for (int64_t i = 0; i < (spec.name == "unused" ? 0 : kKeysPerStep); ++i) {
      const uint64_t number = random.below(500, static_cast<uint64_t>(table), static_cast<uint64_t>(i));
      const uint64_t key =
          spec.key_space == KeySpace::kDense ? number % static_cast<uint64_t>(spec.rows) : mix64(number);
      if (key % static_cast<uint64_t>(comm_.size()) != static_cast<uint64_t>(comm_.rank())) continue;
      mine.push_back(static_cast<int64_t>(key));
    }
    at::Tensor keys = at::empty({static_cast<int64_t>(mine.size())}, at::kLong);
    std::copy(mine.begin(), mine.end(), keys.mutable_data_ptr<int64_t>());
    return {keys, keys.numel()};
  }

  /// Multiples of 1/8: sums of their squares are exact, so rows learn alike however their columns are spread.
  static void set_gradients(const RoutedTable& routed, at::Tensor& values, const CounterRandom& random) {
    std::vector<uint64_t> keys;  // of the rows
    for (const RoutedPart& part : routed.parts) keys.insert(keys.end(), part.keys.begin(), part.keys.end());
    at::Tensor gradient = at::empty(values.sizes(), at::TensorOptions(at::kDouble));
    for (int64_t i = 0; i < gradient.numel(); ++i) {
      const uint64_t key = keys[static_cast<size_t>(i / values.size(1))];
      const double drawn = random.normal(key, static_cast<uint64_t>(i % values.size(1)));
      gradient.mutable_data_ptr<double>()[i] = std::round(8.0 * drawn) / 8.0;
    }
    values.mutable_grad() = gradient.to(values.scalar_type());
  }

  Communicator& comm_;
  ShardedEmbedding embedding_;
  CheckpointContent content_;
};

}  // namespace rondo::testing
