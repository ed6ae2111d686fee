#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "trainer/model/item_features.h"
#include "trainer/model/model_options.h"

namespace rondo {

/// The rows of one table that a segment of items asks for, and their share in the vectors they go into.
struct WeightedBags {
  at::Tensor offsets;  // int64 [groups + 1] into the ids of this table in this segment
  at::Tensor weights;  // [ids], model dtype
};

/// Some items of a batch in groups: targets (each item its own group) or histories (one group an example). A group's
/// vector is sum_i alpha_i h_i, and h_i = sum_j beta_j h_ij / sum of the present betas.
struct Segment {
  std::span<const int32_t> places;         // [n]
  std::span<const int64_t> group_offsets;  // [groups + 1]
  std::span<const double> alpha;           // [n]
};

/// Which features of a segment are there. A missing feature is absent: masked, the betas renormalised; so is, in
/// evaluation, a row that was never trained.
struct Presence {
  std::vector<uint8_t> id;                 // [n]
  std::vector<std::vector<uint8_t>> bags;  // per bag feature, one flag an id of the segment
  std::vector<uint8_t> text;               // [n]
};

/// The weights of a segment's features: everything linear of the item and user vectors, as one weighted sum a table.
struct MixPlan {
  WeightedBags id;
  std::vector<WeightedBags> bags;
  WeightedBags text;  // one id an item that has text (Presence::text or not), in order
};

MixPlan plan_mix(const Segment& segment, const Presence& presence, const ItemFeatures& features,
                 const ModelOptions& options);

}  // namespace rondo
