#pragma once

#include <array>
#include <cstdint>

#include "sharding/base/random.h"
#include "trainer/data/synth_shop.h"

namespace rondo {

enum class SynthBehaviour : uint8_t { kView, kCart, kBuy };

struct SynthEvent {
  int32_t item = 0;
  SynthBehaviour behaviour = SynthBehaviour::kView;
  int64_t time = 0;     // seconds since 1970
  int64_t session = 0;  // of the user, from 0
};

/// One user's walk through a shop, an event at a time, in order of time: a pure function of (seed, user, events).
///
/// A user likes a style, a material and a few types, and changes them once on the way, so that what is recent says more
/// than what is old. A session looks for one type, a favourite or that of the session before; most of its views are of
/// the user's style, some of the material, a few of what is new or of anything. A view may go on to the cart and to the
/// till.
class SynthWalk {
 public:
  static constexpr int64_t kFirstTime = 1'735'689'600;  // 2025-01-01T00:00:00Z

  /// Keeps a reference to `shop`. `events`: how many `next` gives.
  SynthWalk(const SynthShop& shop, uint64_t seed, int64_t user, int64_t events);

  bool done() const { return made_ == events_; }

  /// REQUIRES: !done().
  SynthEvent next();

  /// What the user looks for, and likes, now.
  int64_t type() const { return type_; }
  int64_t style() const { return style_; }
  int64_t material() const { return material_; }

 private:
  uint64_t draw() { return CounterRandom::bits_at(sequence_, drawn_++); }
  int64_t below(int64_t bound);
  bool chance(int64_t percent) { return below(100) < percent; }

  void change_taste();
  void start_session();
  void view();

  /// `why` in [0, 100) says from which shelf.
  int32_t pick(int64_t why);
  bool is_recent(int32_t item) const;

  const SynthShop& shop_;
  uint64_t sequence_;
  uint64_t drawn_ = 0;
  int64_t events_;
  int64_t made_ = 0;

  int64_t start_;                   // seconds
  int64_t span_;                    // seconds from the first session to the last
  int64_t changes_at_;              // event
  std::array<int64_t, 3> types_{};  // favourites
  int64_t style_ = 0;
  int64_t material_ = 0;

  int64_t session_ = -1;
  int64_t views_left_ = 0;  // of the session
  int64_t type_ = 0;        // of the session
  SynthEvent event_;
  int64_t funnel_left_ = 0;  // events that follow the view
  std::array<int32_t, 64> recent_{};
};

}  // namespace rondo
