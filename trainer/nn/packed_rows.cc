#include "trainer/nn/packed_rows.h"

#include <utility>

#include "sharding/base/check.h"

namespace rondo {

PackedRowsPtr make_packed_rows(std::vector<int32_t> tokens, std::vector<int64_t> offsets,
                               std::vector<uint64_t> digests) {
  RONDO_CHECK_EQ(offsets.size(), digests.size() + 1, "offsets and texts of a packed batch");
  RONDO_CHECK_EQ(offsets.front(), 0);
  RONDO_CHECK_EQ(offsets.back(), static_cast<int64_t>(tokens.size()), "end of a packed batch");
  auto rows = std::make_shared<PackedRows>();
  rows->text.resize(tokens.size());
  rows->position.resize(tokens.size());
  for (size_t t = 0; t + 1 < offsets.size(); ++t) {
    RONDO_CHECK_LE(offsets[t], offsets[t + 1], "offsets of text ", t);
    for (int64_t row = offsets[t]; row < offsets[t + 1]; ++row) {
      rows->text[static_cast<size_t>(row)] = static_cast<int32_t>(t);
      rows->position[static_cast<size_t>(row)] = static_cast<int32_t>(row - offsets[t]);
    }
  }
  rows->tokens = std::move(tokens);
  rows->offsets = std::move(offsets);
  rows->digests = std::move(digests);
  return rows;
}

PackedRowsPtr first_rows(const PackedRows& rows) {
  std::vector<int32_t> tokens;
  std::vector<int64_t> offsets{0};
  for (int64_t t = 0; t < rows.texts(); ++t) {
    RONDO_CHECK_GE(rows.length(t), 1, "rows of text ", t);
    tokens.push_back(rows.tokens[static_cast<size_t>(rows.offsets[static_cast<size_t>(t)])]);
    offsets.push_back(t + 1);
  }
  return make_packed_rows(std::move(tokens), std::move(offsets), rows.digests);
}

}  // namespace rondo
