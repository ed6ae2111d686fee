#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace rondo {

/// Rate of a link for messages of a size.
struct RatePoint {
  double message_bytes = 0;
  double bytes_per_second = 0;
};

/// What one collective costs over one kind of link:
/// seconds = call_seconds + messages * message_seconds + bytes / rate(bytes / messages).
/// Where both kinds of link are used, the call counts once (the longer one).
///
/// A message is what a rank sends to one peer; `bytes` is what it sends to all of them or gets from all of them,
/// whichever is more (links are full duplex).
struct LinkCost {
  double call_seconds = 0;     ///< once a call, however many peers
  double message_seconds = 0;  ///< for each peer
  std::vector<RatePoint> rates =
      {};  ///< ascending sizes; between two of them on logarithmic scales, outside the nearest

  double rate(double message_bytes) const;
};

/// The two kinds of link: between ranks of one node, and between nodes.
struct CollectiveCost {
  LinkCost within;
  LinkCost across;
};

/// Work on so many items (ids, rows) of so many bytes in all.
struct WorkRate {
  double item_seconds = 0;
  double byte_seconds = 0;

  double seconds(double items, double bytes) const { return items * item_seconds + bytes * byte_seconds; }
};

/// Work on rows at random places of memory of a size: caches make small tables faster.
struct MemoryPoint {
  double table_bytes = 0;  ///< rows, state and index of one rank
  WorkRate find;           ///< a distinct key to its row (bytes: none)
  WorkRate gather;         ///< a row to a message, a tensor or a sum
  WorkRate update;         ///< one optimizer step on a row, values and state read and written
};

/// What a rank does for tables with one way home. The asker has the ids, the owner the rows.
struct WayRates {
  WorkRate ask;     ///< asker: an id to its owner; with rows home, to its place among the distinct ids
  WorkRate hear;    ///< owner: a key (rows home) or an id (sums home) heard, where there are other ranks
  WorkRate pool;    ///< a row into its bag; the asker for rows, the owner for sums
  WorkRate unpool;  ///< the gradient of its bag back to the row, where that one was pooled
  WorkRate leaf;    ///< asker: the gradient of a distinct row made
  WorkRate answer;  ///< a row or sum that crosses: into a message and out of it, half on either side
  WorkRate merge;   ///< a gradient that crosses, and the sum with those of others; half on either side
  std::vector<MemoryPoint> memory;  ///< ascending sizes; between two of them by the logarithm of the size

  MemoryPoint at(double table_bytes) const;
};

/// What the planner knows of the machines. Measured by `rondo calibrate`, or given (configs/profiles/).
struct HardwareProfile {
  std::string name;
  double memory_bytes = 0;  ///< of one rank, for everything
  int ranks_per_node = 1;
  bool knows_across = true;  ///< false: costs across nodes are those within one, for want of better

  CollectiveCost all_to_all;      ///< ids, rows, sums, gradients of either
  CollectiveCost all_gather;      ///< (no table uses it today)
  CollectiveCost reduce_scatter;  ///< (no table uses it today)
  CollectiveCost all_reduce;      ///< dense gradients; bytes: those of the summed vector

  double step_seconds = 0;        ///< once a step, whatever is in it
  double table_seconds = 0;       ///< for each table of a step
  double peer_step_seconds = 0;   ///< more of it where there are other ranks, beside what the links take
  double peer_table_seconds = 0;  ///< likewise for each table

  WayRates rows;
  WayRates sums;

  double flops_per_second = 0;  ///< of the dense towers; 0: their time is left out
};

/// Throws ConfigError naming the profile, the field, its value and the allowed range.
void validate(const HardwareProfile& profile);

/// seconds = fixed_seconds + bytes * byte_seconds.
struct LinearCost {
  double fixed_seconds = 0;
  double byte_seconds = 0;

  double seconds(double bytes) const { return fixed_seconds + bytes * byte_seconds; }
};

/// A collective among `world` ranks in which a rank sends (or gets) about `bytes`, in equal messages to all peers.
LinearCost cost_near(const CollectiveCost& cost, int ranks_per_node, int world, double bytes);

}  // namespace rondo
