#include "trainer/nn/dropout.h"

#include <ATen/ops/empty.h>

#include <cmath>

#include "sharding/base/check.h"

namespace rondo {
namespace {

/// Writes the factors of rows 0 .. rows-1 of a text.
void write_factors(const DropoutSite& site, uint64_t digest, int64_t rows, int64_t width, double* out) {
  const uint64_t stream = site.stream(digest);
  const int64_t words = DropoutSite::words(width);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < width; ++column) {
      const uint64_t bits = CounterRandom::bits_at(stream, static_cast<uint64_t>(row * words + column / 4));
      const auto lane = static_cast<uint32_t>(bits >> (16 * (column % 4))) & 0xffffU;
      out[row * width + column] = lane >= site.threshold() ? site.scale() : 0.0;
    }
  }
}

}  // namespace

DropoutSite::DropoutSite(double probability, const StepContext& context, uint64_t site)
    : random_(context.seed, static_cast<uint64_t>(context.step), RandomPurpose::kDropout),
      site_key_(mix64(site)),
      threshold_(context.training ? static_cast<uint32_t>(std::lround(probability * 65536.0)) : 0) {
  RONDO_CHECK(probability >= 0 && probability < 1, "probability ", probability);
  RONDO_CHECK_LT(threshold_, 65536U, "probability ", probability);
}

std::vector<uint64_t> DropoutSite::streams(const PackedRows& rows) const {
  std::vector<uint64_t> result;
  if (!active()) return result;
  result.reserve(rows.digests.size());
  for (const uint64_t digest : rows.digests) result.push_back(stream(digest));
  return result;
}

at::Tensor dropout_factors(const PackedDropout& dropout, int64_t width, at::ScalarType dtype) {
  const PackedRows& rows = *dropout.rows;
  at::Tensor factors = at::empty({rows.rows(), width}, at::kDouble);
  double* out = factors.mutable_data_ptr<double>();
  for (int64_t t = 0; t < rows.texts(); ++t) {
    write_factors(dropout.site, rows.digests[static_cast<size_t>(t)], rows.length(t), width,
                  out + rows.offsets[static_cast<size_t>(t)] * width);
  }
  return factors.to(dtype);
}

at::Tensor dropout_factors(const DropoutSite& site, uint64_t digest, int64_t rows, int64_t width,
                           at::ScalarType dtype) {
  at::Tensor factors = at::empty({rows, width}, at::kDouble);
  write_factors(site, digest, rows, width, factors.mutable_data_ptr<double>());
  return factors.to(dtype);
}

}  // namespace rondo
