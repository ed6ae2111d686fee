#pragma once

#include <cstdint>
#include <functional>

namespace rondo {

/// The one thread pool of the process: OpenMP's, which LibTorch uses as well (DESIGN 13).

/// Sets its size; call it once, before the first use. REQUIRES: threads >= 1.
void set_threads(int threads);
int threads();

/// Place of the calling thread in the parallel_for that it works for, in [0, threads()); 0 outside.
int worker();

/// Calls `body(begin, end)` on disjoint ranges that cover [0, count), in parallel, and returns when all are done.
///
/// Ranges have `grain` elements but for the last, whatever the number of threads, so that what a range computes does
/// not depend on it. Runs on the calling thread when one range suffices, or inside another parallel_for.
/// The first exception (by range) is thrown again.
void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace rondo
