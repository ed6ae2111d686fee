#include "sharding/exchange/wire_codec.h"

#include <algorithm>

#include "sharding/base/check.h"
#include "sharding/base/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sharding/exchange/wire_codec.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which compiles this file once for each instruction set.
#include <hwy/highway.h>

#include "sharding/base/half_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace rondo {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
namespace lanes_of = rondo::half::HWY_NAMESPACE;

template <typename V>
void narrow_all(const float* from, V* to, int64_t count) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::Rebind<uint16_t, decltype(d)> words;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (; i + lanes <= count; i += lanes) {
    hn::StoreU(lanes_of::nearest_lanes<V>(d, hn::LoadU(d, from + i)), words, reinterpret_cast<uint16_t*>(to + i));
  }
#endif
  for (; i < count; ++i) to[i] = nearest<V>(from[i]);
}

template <typename V>
void widen_all(const V* from, float* to, int64_t count) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::ScalableTag<float> d;
  const hn::Rebind<uint16_t, decltype(d)> words;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (; i + lanes <= count; i += lanes) {
    const auto word = hn::LoadU(words, reinterpret_cast<const uint16_t*>(from + i));
    hn::StoreU(lanes_of::widen_lanes(d, V{}, word), d, to + i);
  }
#endif
  for (; i < count; ++i) to[i] = widen(from[i]);
}

void narrow_f16(const float* from, Float16* to, int64_t count) { narrow_all(from, to, count); }
void narrow_bf16(const float* from, BFloat16* to, int64_t count) { narrow_all(from, to, count); }
void widen_f16(const Float16* from, float* to, int64_t count) { widen_all(from, to, count); }
void widen_bf16(const BFloat16* from, float* to, int64_t count) { widen_all(from, to, count); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace rondo
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace rondo {

HWY_EXPORT(narrow_f16);
HWY_EXPORT(narrow_bf16);
HWY_EXPORT(widen_f16);
HWY_EXPORT(widen_bf16);

namespace {

void narrow(const float* from, Float16* to, int64_t count) { HWY_DYNAMIC_DISPATCH(narrow_f16)(from, to, count); }
void narrow(const float* from, BFloat16* to, int64_t count) { HWY_DYNAMIC_DISPATCH(narrow_bf16)(from, to, count); }
void widen(const Float16* from, float* to, int64_t count) { HWY_DYNAMIC_DISPATCH(widen_f16)(from, to, count); }
void widen(const BFloat16* from, float* to, int64_t count) { HWY_DYNAMIC_DISPATCH(widen_bf16)(from, to, count); }

template <typename T>
void copy(const void* from, void* to, int64_t count) {
  std::copy_n(static_cast<const T*>(from), count, static_cast<T*>(to));
}

template <typename V>
void to_16_bits(const void* from, void* to, int64_t count) {
  narrow(static_cast<const float*>(from), static_cast<V*>(to), count);
}

template <typename V>
void from_16_bits(const void* from, void* to, int64_t count) {
  widen(static_cast<const V*>(from), static_cast<float*>(to), count);
}

template <typename From, typename To>
void through_fp32(const void* from, void* to, int64_t count) {
  constexpr int64_t kPiece = 256;
  float piece[kPiece];
  for (int64_t i = 0; i < count; i += kPiece) {
    const int64_t n = std::min(kPiece, count - i);
    widen(static_cast<const From*>(from) + i, piece, n);
    narrow(piece, static_cast<To*>(to) + i, n);
  }
}

NumberCopy same_type_copy(at::ScalarType type) {
  if (type == at::kDouble) return copy<double>;
  return type == at::kFloat ? copy<float> : copy<uint16_t>;
}

}  // namespace

at::ScalarType scalar_type(RowType type) {
  switch (type) {
    case RowType::kFloat32:
      return at::kFloat;
    case RowType::kFloat64:
      return at::kDouble;
    case RowType::kFloat16:
      return at::kHalf;
    case RowType::kBFloat16:
      return at::kBFloat16;
  }
  throw InternalError(concat("row type ", static_cast<int>(type), " is not known"));
}

at::ScalarType compute_type(RowType type) { return type == RowType::kFloat64 ? at::kDouble : at::kFloat; }

at::ScalarType wire_type(WireCodec codec, at::ScalarType type) {
  RONDO_CHECK(codec == WireCodec::kNone || type != at::kDouble, "a codec for ", type);
  if (codec == WireCodec::kNone) return type;
  return codec == WireCodec::kFloat16 ? at::kHalf : at::kBFloat16;
}

NumberCopy number_copy(at::ScalarType from, at::ScalarType to) {
  const auto known = [](at::ScalarType type) {
    return type == at::kDouble || type == at::kFloat || type == at::kHalf || type == at::kBFloat16;
  };
  RONDO_CHECK(known(from) && known(to) && (from == to || (from != at::kDouble && to != at::kDouble)), "from ", from,
              " to ", to);
  if (from == to) return same_type_copy(from);
  if (from == at::kFloat) return to == at::kHalf ? to_16_bits<Float16> : to_16_bits<BFloat16>;
  if (to == at::kFloat) return from == at::kHalf ? from_16_bits<Float16> : from_16_bits<BFloat16>;
  return from == at::kHalf ? through_fp32<Float16, BFloat16> : through_fp32<BFloat16, Float16>;
}

}  // namespace rondo
#endif
