#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include <utility>

/// What an autograd function of ours keeps besides tensors. Included only where one is defined: it is slow to compile.
namespace rondo {

template <typename T>
struct AutogradCapsule final : torch::CustomClassHolder {
  explicit AutogradCapsule(T kept) : value(std::move(kept)) {}
  T value;
};

/// Keeps `value` for the backward pass, one per function.
template <typename T>
void remember(torch::autograd::AutogradContext* context, T value) {
  context->saved_data["kept"] = c10::IValue::make_capsule(c10::make_intrusive<AutogradCapsule<T>>(std::move(value)));
}

/// What `remember` kept. REQUIRES: the same T.
template <typename T>
T recall(torch::autograd::AutogradContext* context) {
  return static_cast<AutogradCapsule<T>&>(*context->saved_data["kept"].toCapsule()).value;
}

/// Whether a backward pass may come.
template <typename... Tensors>
bool wants_gradient(const Tensors&... inputs) {
  return at::GradMode::is_enabled() && (inputs.requires_grad() || ...);
}

}  // namespace rondo
