#include "trainer/nn/row_kernels.h"

// Compiled once per instruction set: see foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "trainer/nn/row_kernels.cc"
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL)
#endif
#include <hwy/foreach_target.h>
// After foreach_target.
#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "trainer/nn/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo::kernels::HWY_NAMESPACE {

/// Draws of one row after the other, into a buffer of its own.
class RowDraws {
 public:
  RowDraws(const RowDropout& dropout, int64_t width)
      : dropout_(dropout),
        words_((width + 3) / 4),
        draws_(dropout.streams != nullptr ? static_cast<size_t>(4 * words_) : 0) {}

  bool active() const { return dropout_.streams != nullptr; }

  void draw(int64_t row) {
    draw_lanes(dropout_.streams[dropout_.text[row]], dropout_.position[row] * words_, words_, draws_.data());
  }

  template <class D, class V>
  HWY_INLINE V keep(D d, V x, int64_t column) const {
    return keep_lanes(d, x, draws_.data() + column, dropout_.threshold, dropout_.scale);
  }

 private:
  RowDropout dropout_;
  int64_t words_;
  std::vector<uint16_t> draws_;
};

/// `row` holds the sum to normalise and becomes the output; `normalized` may be null.
/// Returns one over the standard deviation.
HWY_INLINE float normalize_row(const RowNorm& norm, float* HWY_RESTRICT row, float* HWY_RESTRICT normalized) {
  const auto count = static_cast<float>(norm.width);
  const float mean =
      sum_lanes<float>(norm.width, [&](auto d, int64_t i) HWY_ATTR { return hn::LoadU(d, row + i); }) / count;
  const float squares = sum_lanes<float>(norm.width, [&](auto d, int64_t i) HWY_ATTR {
    const auto centred = hn::Sub(hn::LoadU(d, row + i), hn::Set(d, mean));
    return hn::Mul(centred, centred);
  });
  const float inverse = 1.0F / std::sqrt(squares / count + norm.eps);
  for_lanes<float>(norm.width, [&](auto d, int64_t i) HWY_ATTR {
    const auto x = hn::Mul(hn::Sub(hn::LoadU(d, row + i), hn::Set(d, mean)), hn::Set(d, inverse));
    if (normalized != nullptr) hn::StoreU(x, d, normalized + i);
    hn::StoreU(hn::MulAdd(x, hn::LoadU(d, norm.weight + i), hn::LoadU(d, norm.bias + i)), d, row + i);
  });
  return inverse;
}

HWY_INLINE float* normalized_row(const NormMemory& memory, int64_t row, int64_t width) {
  return memory.normalized != nullptr ? memory.normalized + row * width : nullptr;
}

void residual_norm(const ResidualNorm& task, int64_t begin, int64_t end) {
  const int64_t width = task.norm.width;
  RowDraws draws(task.dropout, width);
  for (int64_t row = begin; row < end; ++row) {
    const float* HWY_RESTRICT product = task.product + row * width;
    const float* HWY_RESTRICT residual = task.residual + row * width;
    float* HWY_RESTRICT out = task.out + row * width;
    if (draws.active()) {
      draws.draw(row);
      for_lanes<float>(width, [&](auto d, int64_t i) HWY_ATTR {
        const auto x = hn::Add(hn::LoadU(d, product + i), hn::LoadU(d, task.product_bias + i));
        hn::StoreU(hn::Add(hn::LoadU(d, residual + i), draws.keep(d, x, i)), d, out + i);
      });
    } else {
      for_lanes<float>(width, [&](auto d, int64_t i) HWY_ATTR {
        const auto x = hn::Add(hn::LoadU(d, product + i), hn::LoadU(d, task.product_bias + i));
        hn::StoreU(hn::Add(hn::LoadU(d, residual + i), x), d, out + i);
      });
    }
    const float inverse = normalize_row(task.norm, out, normalized_row(task.memory, row, width));
    if (task.memory.inverse_deviation != nullptr) task.memory.inverse_deviation[row] = inverse;
  }
}

void embed_norm(const EmbedNorm& task, int64_t begin, int64_t end) {
  const int64_t width = task.norm.width;
  RowDraws draws(task.dropout, width);
  for (int64_t row = begin; row < end; ++row) {
    const float* HWY_RESTRICT word = task.word + task.tokens[row] * width;
    const float* HWY_RESTRICT position = task.position_table + task.dropout.position[row] * width;
    float* HWY_RESTRICT out = task.out + row * width;
    for_lanes<float>(width, [&](auto d, int64_t i) HWY_ATTR {
      const auto sum = hn::Add(hn::LoadU(d, word + i), hn::LoadU(d, position + i));
      hn::StoreU(hn::Add(sum, hn::LoadU(d, task.token_type + i)), d, out + i);
    });
    const float inverse = normalize_row(task.norm, out, normalized_row(task.memory, row, width));
    if (task.memory.inverse_deviation != nullptr) task.memory.inverse_deviation[row] = inverse;
    if (draws.active()) {
      draws.draw(row);
      for_lanes<float>(
          width, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(draws.keep(d, hn::LoadU(d, out + i), i), d, out + i); });
    }
  }
}

template <class D, class V>
HWY_INLINE void add_to(D d, V x, float* sums) {
  hn::StoreU(hn::Add(hn::LoadU(d, sums), x), d, sums);
}

/// Gradient of one row's sum from that of its output, and the row's part of the weight's and bias's.
HWY_INLINE void norm_row_gradient(const NormGradient& task, int64_t row, const float* HWY_RESTRICT out_gradient) {
  const int64_t width = task.norm.width;
  const float* HWY_RESTRICT normalized = task.normalized + row * width;
  float* HWY_RESTRICT gradient = task.sum_gradient + row * width;
  const float* weight = task.norm.weight;
  const auto count = static_cast<float>(width);
  const float mean = sum_lanes<float>(width,
                                      [&](auto d, int64_t i) HWY_ATTR {
                                        return hn::Mul(hn::LoadU(d, out_gradient + i), hn::LoadU(d, weight + i));
                                      }) /
                     count;
  const float projection = sum_lanes<float>(width,
                                            [&](auto d, int64_t i) HWY_ATTR {
                                              const auto g =
                                                  hn::Mul(hn::LoadU(d, out_gradient + i), hn::LoadU(d, weight + i));
                                              return hn::Mul(g, hn::LoadU(d, normalized + i));
                                            }) /
                           count;
  const float inverse = task.inverse_deviation[row];
  for_lanes<float>(width, [&](auto d, int64_t i) HWY_ATTR {
    const auto g = hn::LoadU(d, out_gradient + i);
    const auto x = hn::LoadU(d, normalized + i);
    const auto centred =
        hn::NegMulAdd(x, hn::Set(d, projection), hn::Sub(hn::Mul(g, hn::LoadU(d, weight + i)), hn::Set(d, mean)));
    hn::StoreU(hn::Mul(centred, hn::Set(d, inverse)), d, gradient + i);
    add_to(d, hn::Mul(g, x), task.weight_sums + i);
    add_to(d, g, task.bias_sums + i);
  });
}

void residual_norm_gradient(const NormGradient& task, int64_t begin, int64_t end) {
  const int64_t width = task.norm.width;
  RowDraws draws(task.dropout, width);
  for (float* sums : {task.weight_sums, task.bias_sums, task.product_bias_sums}) std::fill_n(sums, width, 0.0F);
  for (int64_t row = begin; row < end; ++row) {
    norm_row_gradient(task, row, task.out_gradient + row * width);
    const float* HWY_RESTRICT sum = task.sum_gradient + row * width;
    if (draws.active()) {
      float* HWY_RESTRICT product = task.product_gradient + row * width;
      draws.draw(row);
      for_lanes<float>(width, [&](auto d, int64_t i) HWY_ATTR {
        const auto g = draws.keep(d, hn::LoadU(d, sum + i), i);
        hn::StoreU(g, d, product + i);
        add_to(d, g, task.product_bias_sums + i);
      });
    } else {
      for_lanes<float>(
          width, [&](auto d, int64_t i) HWY_ATTR { add_to(d, hn::LoadU(d, sum + i), task.product_bias_sums + i); });
    }
  }
}

void embed_norm_gradient(const NormGradient& task, int64_t begin, int64_t end) {
  const int64_t width = task.norm.width;
  RowDraws draws(task.dropout, width);
  std::vector<float> kept(static_cast<size_t>(draws.active() ? width : 0));
  for (float* sums : {task.weight_sums, task.bias_sums}) std::fill_n(sums, width, 0.0F);
  for (int64_t row = begin; row < end; ++row) {
    const float* gradient = task.out_gradient + row * width;
    if (draws.active()) {
      draws.draw(row);
      for_lanes<float>(width, [&](auto d, int64_t i) HWY_ATTR {
        hn::StoreU(draws.keep(d, hn::LoadU(d, gradient + i), i), d, kept.data() + i);
      });
      gradient = kept.data();
    }
    norm_row_gradient(task, row, gradient);
  }
}

/// Normal distribution of x: its cumulative function and exp(-x^2 / 2).
/// erf by Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7.
template <class D, class V>
HWY_INLINE V normal_cdf(D d, V x, V& bell) {
  const auto distance = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678F));
  const auto t = hn::Div(hn::Set(d, 1.0F), hn::MulAdd(distance, hn::Set(d, 0.3275911F), hn::Set(d, 1.0F)));
  auto tail = hn::MulAdd(t, hn::Set(d, 1.061405429F), hn::Set(d, -1.453152027F));
  tail = hn::MulAdd(t, tail, hn::Set(d, 1.421413741F));
  tail = hn::MulAdd(t, tail, hn::Set(d, -0.284496736F));
  tail = hn::MulAdd(t, tail, hn::Set(d, 0.254829592F));
  bell = hn::Exp(d, hn::Mul(hn::Mul(x, x), hn::Set(d, -0.5F)));
  tail = hn::Mul(hn::Mul(tail, t), hn::Mul(bell, hn::Set(d, 0.5F)));  // 1 - cdf(|x|)
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), tail, hn::Sub(hn::Set(d, 1.0F), tail));
}

void bias_gelu(const BiasGelu& task, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* HWY_RESTRICT product = task.product + row * task.width;
    float* HWY_RESTRICT out = task.out + row * task.width;
    for_lanes<float>(task.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto x = hn::Add(hn::LoadU(d, product + i), hn::LoadU(d, task.bias + i));
      auto bell = x;
      hn::StoreU(hn::Mul(x, normal_cdf(d, x, bell)), d, out + i);
    });
  }
}

void bias_gelu_gradient(const BiasGeluGradient& task, int64_t begin, int64_t end) {
  std::fill_n(task.bias_sums, task.width, 0.0F);
  for (int64_t row = begin; row < end; ++row) {
    const float* HWY_RESTRICT product = task.product + row * task.width;
    const float* HWY_RESTRICT out_gradient = task.out_gradient + row * task.width;
    float* HWY_RESTRICT gradient = task.product_gradient + row * task.width;
    for_lanes<float>(task.width, [&](auto d, int64_t i) HWY_ATTR {
      const auto x = hn::Add(hn::LoadU(d, product + i), hn::LoadU(d, task.bias + i));
      auto bell = x;
      const auto cdf = normal_cdf(d, x, bell);
      const auto density = hn::Mul(bell, hn::Set(d, 0.39894228F));  // 1 / sqrt(2 pi)
      const auto g = hn::Mul(hn::LoadU(d, out_gradient + i), hn::MulAdd(x, density, cdf));
      hn::StoreU(g, d, gradient + i);
      add_to(d, g, task.bias_sums + i);
    });
  }
}

void add_rows(const RowSum& task, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const float* HWY_RESTRICT row = task.rows + (task.order != nullptr ? task.order[i] : i) * task.width;
    for_lanes<float>(
        task.width, [&](auto d, int64_t column) HWY_ATTR { add_to(d, hn::LoadU(d, row + column), task.out + column); });
  }
}

void round_to_bfloat16(const float* HWY_RESTRICT from, int64_t count, uint16_t* HWY_RESTRICT to) {
  for_lanes<float>(count, [&](auto d, int64_t i) HWY_ATTR {
    const hn::RebindToUnsigned<decltype(d)> wide;
    const hn::Rebind<uint16_t, decltype(d)> narrow;
    const auto x = hn::LoadU(d, from + i);
    const auto bits = hn::BitCast(wide, x);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(wide, 1U));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(wide, 0x7fffU)));
    const auto quiet = hn::Or(bits, hn::Set(wide, 0x400000U));  // NaN would round to infinity or wrap around
    const auto result = hn::IfThenElse(hn::RebindMask(wide, hn::IsNaN(x)), quiet, rounded);
    hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(hn::RebindToSigned<decltype(wide)>(), hn::ShiftRight<16>(result))),
               narrow, to + i);
  });
}

}  // namespace rondo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::kernels {

HWY_EXPORT(residual_norm);
HWY_EXPORT(embed_norm);
HWY_EXPORT(residual_norm_gradient);
HWY_EXPORT(embed_norm_gradient);
HWY_EXPORT(bias_gelu);
HWY_EXPORT(bias_gelu_gradient);
HWY_EXPORT(add_rows);
HWY_EXPORT(round_to_bfloat16);

void residual_norm(const ResidualNorm& task, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(residual_norm)(task, begin, end);
}
void embed_norm(const EmbedNorm& task, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(embed_norm)(task, begin, end);
}
void residual_norm_gradient(const NormGradient& task, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(residual_norm_gradient)(task, begin, end);
}
void embed_norm_gradient(const NormGradient& task, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(embed_norm_gradient)(task, begin, end);
}
void bias_gelu(const BiasGelu& task, int64_t begin, int64_t end) { HWY_DYNAMIC_DISPATCH(bias_gelu)(task, begin, end); }
void bias_gelu_gradient(const BiasGeluGradient& task, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(bias_gelu_gradient)(task, begin, end);
}
void add_rows(const RowSum& task, int64_t begin, int64_t end) { HWY_DYNAMIC_DISPATCH(add_rows)(task, begin, end); }
void round_to_bfloat16(const float* from, int64_t count, uint16_t* to) {
  HWY_DYNAMIC_DISPATCH(round_to_bfloat16)(from, count, to);
}

}  // namespace rondo::kernels
#endif
