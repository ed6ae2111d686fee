#include "tests/bench/text_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <numeric>
#include <string_view>

#include "trainer/data/byte_source.h"
#include "trainer/nn/dropout.h"

namespace rondo::bench {
namespace {

constexpr int64_t kClasses = 2;
constexpr uint64_t kHeadSite = uint64_t{1} << 20;
constexpr uint64_t kSeed = 1;

std::unique_ptr<TextTower> make_tower(const TextFolder& folder, TextPooling pooling, at::ScalarType dtype,
                                      ProductPrecision precision) {
  TextTowerOptions options = folder.tower;
  options.pooling = pooling;
  options.normalize = pooling == TextPooling::kMean;
  options.precision = precision;
  auto tower = std::make_unique<TextTower>(options, "", kSeed, dtype);
  load_weights(folder.weights, "", *tower);
  return tower;
}

/// Dropout of pooled vectors: one row a text.
at::Tensor drop(const at::Tensor& x, const PackedTexts& texts, const DropoutSite& site) {
  if (!site.active()) return x;
  std::vector<int64_t> offsets(texts.offsets.size());
  std::iota(offsets.begin(), offsets.end(), 0);
  const auto rows = make_packed_rows(std::vector<int32_t>(texts.digests.size()), offsets, texts.digests);
  return x * dropout_factors({rows, site}, x.size(1), x.scalar_type());
}

}  // namespace

std::vector<std::string> read_lines(const std::filesystem::path& path, int64_t limit) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  ByteSource source(path);
  std::string all, piece(1 << 20, '\0');
  for (size_t n = 0; (n = source.read(piece)) > 0;) all.append(piece, 0, n);
  std::vector<std::string> lines;
  for (size_t at = 0; at < all.size() && static_cast<int64_t>(lines.size()) < limit;) {
    const size_t end = std::min(all.find('\n', at), all.size());
    std::string_view line(all.data() + at, end - at);
    line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
    line = line.substr(0, line.find_last_not_of(kBlanks) + 1);
    if (!line.empty()) lines.emplace_back(line);
    at = end + 1;
  }
  return lines;
}

std::unique_ptr<TextTower> make_encoder(const TextFolder& folder, at::ScalarType dtype, ProductPrecision precision) {
  return make_tower(folder, TextPooling::kMean, dtype, precision);
}

TextClassifier::TextClassifier(const TextFolder& folder, at::ScalarType dtype, ProductPrecision precision)
    : dropout_(folder.tower.hidden_dropout_prob),
      tower_(make_tower(folder, TextPooling::kPooler, dtype, precision)),
      head_("classifier", folder.tower.hidden_size, kClasses, {folder.tower.initializer_range, kSeed, dtype}),
      parameters_(tower_->parameters()) {
  head_.collect("classifier", parameters_);
}

at::Tensor TextClassifier::loss(const PackedTexts& texts, const std::vector<int64_t>& labels,
                                const StepContext& context) const {
  const DropoutSite site(dropout_, context, kHeadSite);
  const at::Tensor scores = head_.forward(drop(tower_->encode(texts, context), texts, site));
  return at::cross_entropy_loss(scores, at::tensor(at::ArrayRef<int64_t>(labels), at::kLong));
}

}  // namespace rondo::bench
