#include "trainer/nn/attention_kernels.h"

// Compiled once per instruction set: see foreach_target.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "trainer/nn/attention_kernels.cc"
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

using Floats = hn::ScalableTag<float>;

/// A matrix whose rows are padded with zeros to whole vectors.
struct Block {
  float* data = nullptr;
  int64_t stride = 0;

  float* row(int64_t i) const { return data + i * stride; }
};

HWY_INLINE int64_t padded(int64_t width) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  return (width + lanes - 1) / lanes * lanes;
}

/// Left factor of a product: element (i, k) is data[i * row_step + k * column_step].
struct Factor {
  const float* data = nullptr;
  int64_t row_step = 0;
  int64_t column_step = 0;
};

/// R rows by V vectors of left * right, whose inner size is `depth`.
template <int R, int V>
HWY_INLINE void product_tile(const Factor& left, const Block& right, int64_t depth, const Block& out, int64_t column) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<Floats> sums[R][V];
  for (auto& row : sums) {
    for (auto& sum : row) sum = hn::Zero(d);
  }
  for (int64_t k = 0; k < depth; ++k) {
    hn::Vec<Floats> b[V];
    for (int v = 0; v < V; ++v) b[v] = hn::LoadU(d, right.row(k) + column + v * lanes);
    for (int r = 0; r < R; ++r) {
      const auto a = hn::Set(d, left.data[r * left.row_step + k * left.column_step]);
      for (int v = 0; v < V; ++v) sums[r][v] = hn::MulAdd(a, b[v], sums[r][v]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < V; ++v) hn::StoreU(sums[r][v], d, out.row(r) + column + v * lanes);
  }
}

template <int R>
HWY_INLINE void product_rows(const Factor& left, const Block& right, int64_t depth, const Block& out) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  int64_t column = 0;
  for (; column + 2 * lanes <= out.stride; column += 2 * lanes) {
    product_tile<R, 2>(left, right, depth, out, column);
  }
  for (; column < out.stride; column += lanes) product_tile<R, 1>(left, right, depth, out, column);
}

/// out = left * right: `rows` rows of `depth` terms each. REQUIRES: out.stride == right.stride.
HWY_NOINLINE void product(const Factor& left, const Block& right, int64_t depth, const Block& out, int64_t rows) {
  for (int64_t i = 0; i < rows;) {
    const Factor from{left.data + i * left.row_step, left.row_step, left.column_step};
    const Block to{out.row(i), out.stride};
    const int64_t step = std::min<int64_t>(4, rows - i);
    switch (step) {
      case 4:
        product_rows<4>(from, right, depth, to);
        break;
      case 3:
        product_rows<3>(from, right, depth, to);
        break;
      case 2:
        product_rows<2>(from, right, depth, to);
        break;
      default:
        product_rows<1>(from, right, depth, to);
        break;
    }
    i += step;
  }
}

Factor as_factor(const Block& block) { return {block.data, block.stride, 1}; }
Factor transposed_factor(const Block& block) { return {block.data, 1, block.stride}; }

/// Copies `rows` rows of `width` from a matrix of row length `stride`; pads with zeros.
HWY_NOINLINE void pack(const float* from, int64_t stride, int64_t rows, int64_t width, const Block& to) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* HWY_RESTRICT source = from + i * stride;
    float* HWY_RESTRICT target = to.row(i);
    for_lanes<float>(width, [&](auto d, int64_t c) HWY_ATTR { hn::StoreU(hn::LoadU(d, source + c), d, target + c); });
    std::fill(target + width, target + to.stride, 0.0F);
  }
}

HWY_NOINLINE void unpack(const Block& from, int64_t rows, int64_t width, float* to, int64_t stride) {
  for (int64_t i = 0; i < rows; ++i) {
    const float* HWY_RESTRICT source = from.row(i);
    float* HWY_RESTRICT target = to + i * stride;
    for_lanes<float>(width, [&](auto d, int64_t c) HWY_ATTR { hn::StoreU(hn::LoadU(d, source + c), d, target + c); });
  }
}

/// [rows, width] to [width, rows]; the padding is left zero.
HWY_NOINLINE void transpose(const Block& from, int64_t rows, int64_t width, const Block& to) {
  for (int64_t c = 0; c < width; ++c) {
    float* HWY_RESTRICT target = to.row(c);
    for (int64_t i = 0; i < rows; ++i) target[i] = from.data[i * from.stride + c];
    std::fill(target + rows, target + to.stride, 0.0F);
  }
}

/// Softmax of `scale` times the first `count` elements of a padded row; the padding becomes 0. REQUIRES: scale > 0.
HWY_INLINE void softmax_row(float* HWY_RESTRICT row, int64_t count, int64_t stride, float scale) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  constexpr float kLowest = -1e37F;  // its exponential is 0, and no difference with it overflows
  std::fill(row + count, row + stride, kLowest);
  auto highest = hn::Set(d, kLowest);
  for (int64_t c = 0; c < stride; c += lanes) highest = hn::Max(highest, hn::LoadU(d, row + c));
  highest = hn::MaxOfLanes(d, highest);
  auto sum = hn::Zero(d);
  for (int64_t c = 0; c < stride; c += lanes) {
    const auto weight = hn::Exp(d, hn::Mul(hn::Sub(hn::LoadU(d, row + c), highest), hn::Set(d, scale)));
    hn::StoreU(weight, d, row + c);
    sum = hn::Add(sum, weight);
  }
  const auto inverse = hn::Div(hn::Set(d, 1.0F), hn::SumOfLanes(d, sum));
  for (int64_t c = 0; c < stride; c += lanes) hn::StoreU(hn::Mul(hn::LoadU(d, row + c), inverse), d, row + c);
}

/// Room for one head of one text; grows to the longest text seen by its thread.
class HeadRoom {
 public:
  HeadRoom(int64_t length, int64_t head_width) : length_(length), stride_(padded(head_width)), wide_(padded(length)) {
    static thread_local std::vector<float> floats;
    static thread_local std::vector<uint16_t> draws;
    const auto needed = static_cast<size_t>(6 * length_ * stride_ + 2 * head_width * wide_ + 3 * length_ * wide_);
    if (floats.size() < needed) floats.resize(needed);
    // Rows of draws are read in whole vectors: room behind the last.
    const auto drawn = static_cast<size_t>(length_ * draw_stride() + wide_);
    if (draws.size() < drawn) draws.resize(drawn);
    next_ = floats.data();
    draws_ = draws.data();
    for (Block* block : {&query, &key, &value, &out, &out_gradient, &gradient}) *block = take(length_, stride_);
    for (Block* block : {&key_columns, &value_columns}) *block = take(head_width, wide_);
    for (Block* block : {&weights, &dropped, &weight_gradient}) *block = take(length_, wide_);
  }

  uint16_t* draws() const { return draws_; }
  int64_t draw_stride() const { return (length_ + 3) / 4 * 4; }

  Block query, key, value, out, out_gradient, gradient;  // [length, head_width]
  Block key_columns, value_columns;                      // [head_width, length]
  Block weights, dropped, weight_gradient;               // [length, length]

 private:
  Block take(int64_t rows, int64_t stride) {
    const Block block{next_, stride};
    next_ += rows * stride;
    return block;
  }

  int64_t length_, stride_, wide_;
  float* next_ = nullptr;
  uint16_t* draws_ = nullptr;
};

/// One head of one text.
struct Head {
  const Attention& task;
  int64_t text;
  int64_t head;

  int64_t first() const { return task.offsets[text]; }
  int64_t length() const { return task.offsets[text + 1] - first(); }
  int64_t width() const { return task.heads * task.head_width; }
  int64_t joined_stride() const { return 3 * width(); }

  /// Start of query (0), key (1) or value (2) in a matrix like `joined`.
  int64_t joined_at(int64_t part) const { return first() * joined_stride() + part * width() + head * task.head_width; }
  int64_t out_at() const { return first() * width() + head * task.head_width; }
  float score_scale() const { return 1.0F / std::sqrt(static_cast<float>(task.head_width)); }
};

/// Multiplies rows of `from` by the factors of dropout, into `to`.
void drop_weights(const Head& at, const HeadRoom& room, const Block& from, const Block& to) {
  const int64_t length = at.length();
  const auto lanes = static_cast<int64_t>(hn::Lanes(Floats()));
  for (int64_t i = 0; i < length; ++i) {
    const uint16_t* draws = room.draws() + i * room.draw_stride();
    for (int64_t c = 0; c < from.stride; c += lanes) {
      const Floats d;
      hn::StoreU(keep_lanes(d, hn::LoadU(d, from.row(i) + c), draws + c, at.task.threshold, at.task.scale), d,
                 to.row(i) + c);
    }
  }
}

/// Fills query, key, value, key_columns, weights, and dropped (the same block as weights without dropout).
void head_forward(const Head& at, HeadRoom& room) {
  const int64_t length = at.length(), width = at.task.head_width;
  pack(at.task.joined + at.joined_at(0), at.joined_stride(), length, width, room.query);
  pack(at.task.joined + at.joined_at(1), at.joined_stride(), length, width, room.key);
  pack(at.task.joined + at.joined_at(2), at.joined_stride(), length, width, room.value);
  transpose(room.key, length, width, room.key_columns);
  product(as_factor(room.query), room.key_columns, width, room.weights, length);
  for (int64_t i = 0; i < length; ++i) softmax_row(room.weights.row(i), length, room.weights.stride, at.score_scale());
  if (at.task.streams == nullptr) {
    room.dropped = room.weights;
    return;
  }
  const int64_t words = (length + 3) / 4;
  draw_lanes(at.task.streams[at.text], at.head * length * words, length * words, room.draws());
  drop_weights(at, room, room.weights, room.dropped);
}

/// Turns the gradient of the weights, in `room.weight_gradient`, into that of query times key.
void softmax_gradient(const HeadRoom& room, int64_t length, float scale) {
  const Floats d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < length; ++i) {
    const float* HWY_RESTRICT weights = room.weights.row(i);
    float* HWY_RESTRICT gradient = room.weight_gradient.row(i);
    auto sum = hn::Zero(d);
    for (int64_t c = 0; c < room.weights.stride; c += lanes) {
      sum = hn::MulAdd(hn::LoadU(d, weights + c), hn::LoadU(d, gradient + c), sum);
    }
    sum = hn::SumOfLanes(d, sum);
    for (int64_t c = 0; c < room.weights.stride; c += lanes) {
      const auto centred = hn::Sub(hn::LoadU(d, gradient + c), sum);
      hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, weights + c), hn::Set(d, scale)), centred), d, gradient + c);
    }
  }
}

void head_gradient(const Head& at, HeadRoom& room, const float* out_gradient, float* joined_gradient) {
  const int64_t length = at.length(), width = at.task.head_width;
  head_forward(at, room);
  pack(out_gradient + at.out_at(), at.width(), length, width, room.out_gradient);

  product(transposed_factor(room.dropped), room.out_gradient, length, room.gradient, length);
  unpack(room.gradient, length, width, joined_gradient + at.joined_at(2), at.joined_stride());

  transpose(room.value, length, width, room.value_columns);
  product(as_factor(room.out_gradient), room.value_columns, width, room.weight_gradient, length);
  if (at.task.streams != nullptr) drop_weights(at, room, room.weight_gradient, room.weight_gradient);
  softmax_gradient(room, length, at.score_scale());

  product(transposed_factor(room.weight_gradient), room.query, length, room.gradient, length);
  unpack(room.gradient, length, width, joined_gradient + at.joined_at(1), at.joined_stride());

  product(as_factor(room.weight_gradient), room.key, length, room.gradient, length);
  unpack(room.gradient, length, width, joined_gradient + at.joined_at(0), at.joined_stride());
}

void attend(const Attention& task, float* out, int64_t begin, int64_t end) {
  for (int64_t text = begin; text < end; ++text) {
    const int64_t length = task.offsets[text + 1] - task.offsets[text];
    for (int64_t head = 0; head < task.heads; ++head) {
      const Head at{task, text, head};
      HeadRoom room(length, task.head_width);
      head_forward(at, room);
      product(as_factor(room.dropped), room.value, length, room.out, length);
      unpack(room.out, length, task.head_width, out + at.out_at(), at.width());
    }
  }
}

void attend_gradient(const Attention& task, const float* out_gradient, float* joined_gradient, int64_t begin,
                     int64_t end) {
  for (int64_t text = begin; text < end; ++text) {
    const int64_t length = task.offsets[text + 1] - task.offsets[text];
    for (int64_t head = 0; head < task.heads; ++head) {
      HeadRoom room(length, task.head_width);
      head_gradient({task, text, head}, room, out_gradient, joined_gradient);
    }
  }
}

}  // namespace rondo::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo::kernels {

HWY_EXPORT(attend);
HWY_EXPORT(attend_gradient);

void attend(const Attention& task, float* out, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(attend)(task, out, begin, end);
}

void attend_gradient(const Attention& task, const float* out_gradient, float* joined_gradient, int64_t begin,
                     int64_t end) {
  HWY_DYNAMIC_DISPATCH(attend_gradient)(task, out_gradient, joined_gradient, begin, end);
}

}  // namespace rondo::kernels
#endif
