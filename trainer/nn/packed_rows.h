#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace rondo {

/// Where the rows of a packed batch belong: row i of a tensor [tokens, width] is position `position[i]` of text
/// `text[i]`, and the rows of text t are [offsets[t], offsets[t + 1]).
struct PackedRows {
  std::vector<int32_t> tokens;    // [tokens], entries of the vocabulary
  std::vector<int64_t> offsets;   // [texts + 1]
  std::vector<uint64_t> digests;  // [texts], the key of a text's dropout
  std::vector<int32_t> text;      // [tokens]
  std::vector<int32_t> position;  // [tokens]

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
  int64_t texts() const { return static_cast<int64_t>(digests.size()); }
  int64_t length(int64_t t) const { return offsets[static_cast<size_t>(t) + 1] - offsets[static_cast<size_t>(t)]; }
};

/// Shared by the forward pass and the autograd functions that outlive it.
using PackedRowsPtr = std::shared_ptr<const PackedRows>;

/// Fills in `text` and `position`. REQUIRES: offsets that start at 0, never fall and end at the number
/// of tokens; one digest a text.
PackedRowsPtr make_packed_rows(std::vector<int32_t> tokens, std::vector<int64_t> offsets,
                               std::vector<uint64_t> digests);

/// The first row of each text alone: texts of one row, whose dropout is that of the first. REQUIRES: no text without
/// rows.
PackedRowsPtr first_rows(const PackedRows& rows);

}  // namespace rondo
