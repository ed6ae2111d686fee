#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo::bench {

/// The ids of a benchmark, bit for bit those of the program that runs TorchRec on the same work (docs/performance.md):
/// counters of SplitMix64 through a bounded power law, scattered over the table.
struct IdStreamOptions {
  uint64_t seed = 1234;
  int64_t rows = 1'000'000;  // of each table; ids are below
  int64_t tables = 8;
  int64_t batch = 1024;          // examples of one rank in one step
  int64_t pooling = 20;          // mean ids of an example in a table
  bool uniform_lengths = false;  // false: always `pooling` ids; true: 1 .. 2 * pooling - 1
  double alpha = 1.05;           // exponent of the power law; 0: uniform
  bool scatter = true;           // hot ids are spread over the table; false: id 0 is the hottest
};

/// Which share of which batch, and which table.
struct StreamPlace {
  int64_t batch = 0;
  int64_t rank = 0;
  int64_t table = 0;
};

class IdStream {
 public:
  explicit IdStream(const IdStreamOptions& options);

  const IdStreamOptions& options() const { return options_; }

  int64_t length(const StreamPlace& place, int64_t example) const;
  int64_t id(const StreamPlace& place, int64_t position) const;

  /// Where the ids of each example start, [batch + 1].
  std::vector<int64_t> offsets(const StreamPlace& place) const;
  std::vector<int64_t> ids(const StreamPlace& place, int64_t count) const;

 private:
  int64_t id_at(uint64_t base, int64_t position, int64_t table) const;

  IdStreamOptions options_;
  uint64_t multiplier_ = 1;  // prime to `rows`
};

/// The first ids of some streams, in the words of the peer's `--dump-ids`.
std::string dump_ids(const IdStreamOptions& options, int64_t count);

}  // namespace rondo::bench
