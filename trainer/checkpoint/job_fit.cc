#include "trainer/checkpoint/job_fit.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "trainer/checkpoint/dense_file.h"

namespace rondo {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

/// Collects the differences.
class Comparison {
 public:
  template <typename Value>
  void field(const std::string& what, const Value& stored, const Value& wanted) {
    if (stored == wanted) return;
    lines_.push_back(concat(what, " is ", stored, " in the checkpoint, ", wanted, " in the job"));
  }
  void add(std::string line) { lines_.push_back(std::move(line)); }

  void table(const ManifestTable& stored, const ManifestTable& wanted) {
    const std::string what = concat("table \"", stored.name, "\": ");
    field(what + "dim", stored.dim, wanted.dim);
    field(what + "key space", stored.key_space, wanted.key_space);
    field(what + "rows", stored.dense_rows, wanted.dense_rows);
    field(what + "buckets", stored.buckets, wanted.buckets);
    field(what + "row type", stored.row_type, wanted.row_type);
    field(what + "optimizer", stored.optimizer, wanted.optimizer);
  }

  void tensor(const ManifestTensor& stored, const ManifestTensor& wanted) {
    const std::string what = concat("parameter \"", stored.name, "\": ");
    field(what + "type", stored.dtype, wanted.dtype);
    field(what + "shape", shape_text(stored.shape), shape_text(wanted.shape));
  }

  /// By name: what only one side has, and `compare` for the rest. Both are sorted in passing.
  template <typename Entry, typename Compare>
  void lists(std::vector<Entry> stored, std::vector<Entry> wanted, const char* kind, LoadScope scope,
             const Compare& compare) {
    std::ranges::sort(stored, {}, &Entry::name);
    std::ranges::sort(wanted, {}, &Entry::name);
    auto here = stored.begin();
    for (const Entry& entry : wanted) {
      for (; here != stored.end() && here->name < entry.name; ++here) extra(kind, here->name, scope);
      if (here != stored.end() && here->name == entry.name) {
        compare(*here++, entry);
      } else {
        add(concat(kind, " \"", entry.name, "\" is in the job, not in the checkpoint"));
      }
    }
    for (; here != stored.end(); ++here) extra(kind, here->name, scope);
  }

  std::vector<std::string> take() { return std::move(lines_); }

 private:
  void extra(const char* kind, const std::string& name, LoadScope scope) {
    if (scope == LoadScope::kResume) add(concat(kind, " \"", name, "\" is in the checkpoint, not in the job"));
  }

  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> mismatches(const Manifest& manifest, const CheckpointContent& job, LoadScope scope) {
  Comparison comparison;
  if (scope == LoadScope::kResume) {
    comparison.field("seed", manifest.seed, job.seed);
    if (!job.job_digest.empty()) comparison.field("digest of the job", manifest.job_digest, job.job_digest);
  }
  std::vector<ManifestTable> tables;
  for (int64_t t = 0; job.embedding != nullptr && t < job.embedding->tables(); ++t) {
    tables.push_back(manifest_table(job.embedding->spec(t)));
  }
  comparison.lists(manifest.tables, std::move(tables), "table", scope,
                   [&](const ManifestTable& a, const ManifestTable& b) { comparison.table(a, b); });
  comparison.lists(manifest.tensors, manifest_tensors(job.dense), "parameter", scope,
                   [&](const ManifestTensor& a, const ManifestTensor& b) { comparison.tensor(a, b); });
  return comparison.take();
}

}  // namespace rondo
