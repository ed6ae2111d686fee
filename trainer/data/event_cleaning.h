#pragma once

#include <span>

#include "trainer/data/event_spool.h"

namespace rondo {

/// Keeps the first of the events of one time that come from equal source rows. `events` are one user's, sorted; what is
/// kept moves to their front, in order.
std::span<SpooledEvent> drop_duplicate_rows(std::span<SpooledEvent> events);

/// Of rows that each begin with the end of those before them (sliding windows), keeps what is new: the longest
/// beginning of a row that is the end of what was kept goes. `events` are one user's, in the order of the source.
std::span<SpooledEvent> join_overlapping_rows(std::span<SpooledEvent> events);

}  // namespace rondo
