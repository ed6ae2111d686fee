#pragma once

#include <cstdint>

#include "sharding/base/progress.h"
#include "sharding/comm/communicator.h"
#include "sharding/plan/hardware_profile.h"

namespace rondo {

/// Measures the collectives of `comm` by message size and fills the links of `profile`: a small message gives the
/// latency, larger ones the rates. The fastest of repeated calls counts.
///
/// `node` is the same on ranks that share a node, and different otherwise. Where there are both kinds of peers, the
/// all-to-all is measured to each kind alone; the other collectives, which cannot be, count as across nodes, and
/// within one as the all-to-all. Collective; the result is the same on every rank. REQUIRES: two ranks or more.
void calibrate_links(Communicator& comm, int64_t node, Progress& progress, HardwareProfile& profile);

}  // namespace rondo
