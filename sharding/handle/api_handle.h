#pragma once

#include <utility>

namespace rondo {

/// The one owner of a handle of a library that is reached through a table of functions; releases it through the table
/// that made it, which outlives it. `Traits`: Native, Api, empty(), release(api, native) noexcept.
template <typename Traits>
class ApiHandle {
 public:
  using Native = typename Traits::Native;
  using Api = typename Traits::Api;

  ApiHandle() = default;
  ApiHandle(const Api& api, Native native) : api_(&api), native_(native) {}
  ApiHandle(ApiHandle&& other) noexcept : api_(other.api_), native_(other.release()) {}
  ApiHandle& operator=(ApiHandle&& other) noexcept {
    if (this != &other) {
      reset();
      api_ = other.api_;
      native_ = other.release();
    }
    return *this;
  }
  ~ApiHandle() { reset(); }

  Native get() const { return native_; }
  explicit operator bool() const { return native_ != Traits::empty(); }

  /// Gives the handle up without releasing it.
  Native release() { return std::exchange(native_, Traits::empty()); }

  void reset() noexcept {
    if (native_ != Traits::empty()) Traits::release(*api_, release());
  }

 private:
  const Api* api_ = nullptr;
  Native native_ = Traits::empty();
};

}  // namespace rondo
