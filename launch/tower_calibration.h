#pragma once

namespace rondo {

/// Flops a second of a default text tower, forward and backward, by the count that plans use: 6 a weight and token,
/// word vectors left out. On this rank alone.
double tower_flops_per_second();

}  // namespace rondo
