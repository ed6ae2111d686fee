#include "trainer/nn/parameter.h"

#include <ATen/ops/empty.h>

#include "sharding/base/hash.h"
#include "sharding/base/parallel.h"

namespace rondo {

at::Tensor initial_normal(at::IntArrayRef shape, double standard_deviation, uint64_t seed, const std::string& name,
                          at::ScalarType dtype) {
  at::Tensor values = at::empty(shape, at::kDouble);
  double* out = values.mutable_data_ptr<double>();
  const CounterRandom random(seed, 0, RandomPurpose::kInitialParameter);
  const uint64_t key = hash_bytes(name);
  parallel_for(values.numel(), 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) out[i] = standard_deviation * random.normal(key, static_cast<uint64_t>(i));
  });
  return values.to(dtype);
}

}  // namespace rondo
