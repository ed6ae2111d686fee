#include "trainer/data/synth_walk.h"

#include <algorithm>

namespace rondo {
namespace {

constexpr int64_t kDaySeconds = 86'400;
constexpr int64_t kYear = SynthShop::kDays * kDaySeconds;

}  // namespace

SynthWalk::SynthWalk(const SynthShop& shop, uint64_t seed, int64_t user, int64_t events)
    : shop_(shop),
      sequence_(CounterRandom(seed, 1, RandomPurpose::kSynth).sequence(static_cast<uint64_t>(user))),
      events_(events) {
  start_ = kFirstTime + below(kYear * 6 / 10);
  const int64_t left = kFirstTime + kYear - start_;
  span_ = left * (40 + below(60)) / 100;
  changes_at_ = events * (40 + below(40)) / 100;
  style_ = below(SynthShop::kStyles);
  material_ = below(SynthShop::kMaterials);
  for (int64_t& type : types_) type = shop.pick_type(draw());
  if (chance(60)) {  // the second favourite is of the first one's department
    const int64_t department = types_[0] % SynthShop::kDepartments;
    types_[1] =
        department + SynthShop::kDepartments * below((shop.types() - 1 - department) / SynthShop::kDepartments + 1);
  }
  recent_.fill(-1);
}

int64_t SynthWalk::below(int64_t bound) {
  return static_cast<int64_t>((static_cast<unsigned __int128>(draw()) * static_cast<uint64_t>(bound)) >> 64);
}

void SynthWalk::change_taste() {
  types_[0] = shop_.pick_type(draw());
  if (chance(60)) style_ = below(SynthShop::kStyles);
  if (chance(60)) material_ = below(SynthShop::kMaterials);
}

void SynthWalk::start_session() {
  ++session_;
  views_left_ = 1 + below(5);
  if (session_ == 0 || !chance(30)) {
    const int64_t which = below(10);
    type_ = chance(5) ? shop_.pick_type(draw()) : types_[which < 5 ? 0 : which < 8 ? 1 : 2];
  }
  // Event n of N begins its session somewhere in the n-th part of the user's time.
  const int64_t slot = std::max<int64_t>(span_ / events_, 1);
  event_.time = std::max(event_.time + 1, start_ + slot * made_ + below(slot));
  event_.session = session_;
}

bool SynthWalk::is_recent(int32_t item) const {
  return std::find(recent_.begin(), recent_.end(), item) != recent_.end();
}

int32_t SynthWalk::pick(int64_t why) {
  const auto today =
      static_cast<uint16_t>(std::min<int64_t>((event_.time - kFirstTime) / kDaySeconds, SynthShop::kDays - 1));
  const uint64_t luck = draw();
  if (why < 3) return shop_.by_type().pick(shop_.pick_type(draw()), today, luck);
  if (why < 8) return shop_.by_type().pick_new(type_, today, luck);
  int32_t item = -1;
  if (why < 82) {
    item = shop_.by_style().pick(type_ * SynthShop::kStyles + style_, today, luck);
  } else if (why < 95) {
    item = shop_.by_material().pick(type_ * SynthShop::kMaterials + material_, today, luck);
  }
  return item >= 0 ? item : shop_.by_type().pick(type_, today, luck);
}

void SynthWalk::view() {
  if (views_left_ == 0) start_session();
  --views_left_;
  event_.behaviour = SynthBehaviour::kView;
  int64_t why = below(100);
  event_.item = pick(why);
  for (int again = 0; again < 6 && is_recent(event_.item); ++again) {
    if (again >= 3) why = below(100);  // the shelf is used up
    event_.item = pick(why);
  }
  recent_[static_cast<size_t>(made_) % recent_.size()] = event_.item;
  funnel_left_ = !chance(8) ? 0 : chance(50) ? 2 : 1;
}

SynthEvent SynthWalk::next() {
  event_.time += 20 + below(160);
  if (made_ == changes_at_) change_taste();
  if (funnel_left_ > 0) {
    --funnel_left_;
    event_.behaviour = event_.behaviour == SynthBehaviour::kView ? SynthBehaviour::kCart : SynthBehaviour::kBuy;
  } else {
    view();
  }
  ++made_;
  return event_;
}

}  // namespace rondo
