#include "sharding/base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <vector>

#include "sharding/base/check.h"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace rondo {
namespace {

// What OpenMP's barriers order, told to ThreadSanitizer, which does not see into that library.
#if defined(__SANITIZE_THREAD__)
char pool_barrier;
void comes_before() { __tsan_release(&pool_barrier); }
void comes_after() { __tsan_acquire(&pool_barrier); }
#else
void comes_before() {}
void comes_after() {}
#endif

}  // namespace

void set_threads(int threads) {
  RONDO_CHECK_GE(threads, 1);
  omp_set_num_threads(threads);
}

int threads() { return omp_get_max_threads(); }

int worker() { return omp_get_thread_num(); }

void parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t)>& body) {
  RONDO_CHECK_GE(grain, 1);
  const int64_t ranges = (count + grain - 1) / grain;
  if (ranges <= 1 || omp_in_parallel() != 0 || threads() == 1) {
    for (int64_t range = 0; range < ranges; ++range) body(range * grain, std::min(count, (range + 1) * grain));
    return;
  }
  std::vector<std::exception_ptr> failures(static_cast<size_t>(ranges));
  comes_before();
#pragma omp parallel
  {
    comes_after();
#pragma omp for schedule(dynamic, 1) nowait
    for (int64_t range = 0; range < ranges; ++range) {
      try {
        body(range * grain, std::min(count, (range + 1) * grain));
      } catch (...) {
        failures[static_cast<size_t>(range)] = std::current_exception();
      }
    }
    comes_before();
  }
  comes_after();
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace rondo
