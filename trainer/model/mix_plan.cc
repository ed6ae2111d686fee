#include "trainer/model/mix_plan.h"

#include <ATen/ops/empty.h>

#include <algorithm>

#include "sharding/base/check.h"

namespace rondo {
namespace {

/// Collects the ids of one table, group by group.
class BagBuilder {
 public:
  void add(double weight) { weights_.push_back(weight); }
  void close_group() { offsets_.push_back(static_cast<int64_t>(weights_.size())); }

  WeightedBags build(at::ScalarType dtype) const {
    WeightedBags bags;
    bags.offsets = at::empty({static_cast<int64_t>(offsets_.size())}, at::kLong);
    std::copy(offsets_.begin(), offsets_.end(), bags.offsets.data_ptr<int64_t>());
    at::Tensor weights = at::empty({static_cast<int64_t>(weights_.size())}, at::kDouble);
    std::copy(weights_.begin(), weights_.end(), weights.data_ptr<double>());
    bags.weights = weights.to(dtype);
    return bags;
  }

 private:
  std::vector<int64_t> offsets_{0};
  std::vector<double> weights_;
};

struct Cursor {
  int64_t item = 0;
  std::vector<size_t> bag;  // next id of each bag feature
};

int64_t present_ids(const std::vector<uint8_t>& flags, size_t first, size_t count) {
  const auto begin = flags.begin() + static_cast<std::ptrdiff_t>(first);
  return std::count(begin, begin + static_cast<std::ptrdiff_t>(count), uint8_t{1});
}

class MixPlanner {
 public:
  MixPlanner(const Presence& presence, const ItemFeatures& features, const ModelOptions& options)
      : presence_(presence), features_(features), options_(options), bag_builders_(presence.bags.size()) {
    cursor_.bag.assign(presence.bags.size(), 0);
  }

  void add_item(int32_t place, double alpha) {
    const auto item = static_cast<size_t>(cursor_.item++);
    std::vector<int64_t> present(bag_builders_.size());
    double beta = (presence_.id[item] != 0 ? options_.item.id_beta : 0.0) +
                  (presence_.text[item] != 0 ? options_.item.text_beta : 0.0);
    for (size_t bag = 0; bag < present.size(); ++bag) {
      const size_t ids = features_.bag_keys(static_cast<int64_t>(bag), place).size();
      present[bag] = present_ids(presence_.bags[bag], cursor_.bag[bag], ids);
      if (present[bag] > 0) beta += options_.item.bag_beta;
    }
    const double share = beta > 0.0 ? alpha / beta : 0.0;
    id_builder_.add(presence_.id[item] != 0 ? share * options_.item.id_beta : 0.0);
    for (size_t bag = 0; bag < present.size(); ++bag) add_bag(bag, place, present[bag], share);
    if (!features_.text(place).empty()) {
      text_builder_.add(presence_.text[item] != 0 ? share * options_.item.text_beta : 0.0);
    }
  }

  void close_group() {
    id_builder_.close_group();
    for (auto& builder : bag_builders_) builder.close_group();
    text_builder_.close_group();
  }

  MixPlan build() const {
    MixPlan plan{id_builder_.build(options_.dtype), {}, text_builder_.build(options_.dtype)};
    for (const auto& builder : bag_builders_) plan.bags.push_back(builder.build(options_.dtype));
    return plan;
  }

 private:
  void add_bag(size_t bag, int32_t place, int64_t present, double share) {
    const size_t ids = features_.bag_keys(static_cast<int64_t>(bag), place).size();
    for (size_t i = 0; i < ids; ++i) {
      const bool here = presence_.bags[bag][cursor_.bag[bag]++] != 0;
      bag_builders_[bag].add(here ? share * options_.item.bag_beta / static_cast<double>(present) : 0.0);
    }
  }

  const Presence& presence_;
  const ItemFeatures& features_;
  const ModelOptions& options_;
  Cursor cursor_;
  BagBuilder id_builder_, text_builder_;
  std::vector<BagBuilder> bag_builders_;
};

}  // namespace

MixPlan plan_mix(const Segment& segment, const Presence& presence, const ItemFeatures& features,
                 const ModelOptions& options) {
  RONDO_CHECK_EQ(presence.id.size(), segment.places.size());
  RONDO_CHECK_EQ(segment.alpha.size(), segment.places.size());
  MixPlanner planner(presence, features, options);
  for (size_t group = 0; group + 1 < segment.group_offsets.size(); ++group) {
    for (auto i = segment.group_offsets[group]; i < segment.group_offsets[group + 1]; ++i) {
      planner.add_item(segment.places[static_cast<size_t>(i)], segment.alpha[static_cast<size_t>(i)]);
    }
    planner.close_group();
  }
  return planner.build();
}

}  // namespace rondo
