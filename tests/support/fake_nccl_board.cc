#include <algorithm>
#include <utility>

#include "sharding/base/check.h"
#include "tests/support/fake_nccl.h"
#include "tests/support/fake_nccl_parts.h"

// What the processes of one test tell each other about their FakeNccl: each knows of all communicators and meetings,
// and runs the streams of its own device alone.
namespace rondo::testing {

void FakeNccl::read(const FakeNote& note) {
  switch (note.kind) {
    case FakeNote::Kind::kJoins:
      enter(note.device, clique_of(note.key, note.text, static_cast<int>(note.number)), note.rank);
      break;
    case FakeNote::Kind::kLife:
    case FakeNote::Kind::kError:
      read_of_member(note);
      break;
    default:
      read_of_meeting(note);
  }
}

void FakeNccl::read_of_member(const FakeNote& note) {
  Comm* const member = cliques_.at(note.key)->members[static_cast<size_t>(note.rank)];
  if (member == nullptr) return;  // it never joined
  if (note.kind == FakeNote::Kind::kLife) {
    member->life = static_cast<Life>(note.value);
  } else {
    set_error(*member, static_cast<NcclResult>(note.value), note.text);
  }
}

void FakeNccl::read_of_meeting(const FakeNote& note) {
  const MeetingKey key{cliques_.at(note.key).get(), note.source, note.target, note.number};
  const auto meeting = meeting_at(key);
  Meeting::Side& side = meeting->sides.at(static_cast<size_t>(note.rank));
  switch (note.kind) {
    case FakeNote::Kind::kMeets:
      side.made = true;
      side.text = note.text;
      side.agreement = note.agreement;
      break;
    case FakeNote::Kind::kStarts:
      side.started = true;
      side.data = note.data;
      break;
    case FakeNote::Kind::kDelivers:
      if (++meeting->delivered == static_cast<int>(meeting->sides.size())) meetings_.erase(key);
      break;
    case FakeNote::Kind::kNeeds:
      if (side.stream != nullptr) needs_.push_back({meeting, static_cast<size_t>(note.rank)});
      break;
    default:
      RONDO_CHECK(false, "a note of no known kind: ", static_cast<int>(note.kind));
  }
}

/// Tells the process of a side that it is waited for.
void FakeNccl::ask_for(const MeetingKey& key, Meeting& meeting, size_t place) {
  Meeting::Side& side = meeting.sides[place];
  if (side.stream != nullptr || !side.made || side.asked) return;
  side.asked = true;
  machine_.tell(note_of(FakeNote::Kind::kNeeds, key, place));
  machine_.changed();  // who has tried in vain is to try again
}

/// Runs this device's streams as far as other processes wait for them.
void FakeNccl::serve() {
  std::erase_if(needs_, [&](const Need& need) {
    Meeting::Side& side = need.meeting->sides[need.place];
    return side.started || machine_.advance(*side.stream, [&] { return side.started; });
  });
}

}  // namespace rondo::testing
