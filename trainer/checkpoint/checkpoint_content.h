#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sharding/embedding/sharded_embedding.h"
#include "trainer/data/examples.h"

namespace rondo {

/// A dense tensor that every rank holds: a parameter, or state of the dense optimizer.
struct NamedTensor {
  std::string name;
  at::Tensor value;  // shared with its owner: loading overwrites it in place
};

/// What a checkpoint holds: a job's whole state at the end of a step. Writing reads it, loading fills it.
struct CheckpointContent {
  int64_t step = 0;
  DataCursor cursor = {};
  uint64_t seed = 0;

  /// Digest of the parts of the job that a resumed run must share with this one; empty: not compared.
  std::string job_digest = {};

  std::vector<NamedTensor> dense = {};    ///< names are distinct; equal on all ranks
  ShardedEmbedding* embedding = nullptr;  ///< not owned; may be null

  /// Small files to keep beside the tensors, by file name: the job, the schema, the vocabulary. Those of rank 0 count;
  /// after loading, read them from CheckpointReader::text.
  std::map<std::string, std::string> texts = {};
};

}  // namespace rondo
