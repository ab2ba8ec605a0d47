// Activations, element by element, where no matrix product takes them in its epilogue.
//
//   y = act(x),   dx = dy act'(x)
//   relu:       max(x, 0);                                act' = 1 where x > 0, else 0
//   gelu:       x P(x), P the normal distribution;        act' = P(x) + x e^(-x^2/2) / sqrt(2 pi)
//   gelu_tanh:  x s(2u), u = sqrt(2/pi) (x + 0.044715 x^3), s(v) = 1 / (1 + e^-v);
//               act' = s + x s (1 - s) 2 u', 2 u' = 2 sqrt(2/pi) (1 + 0.134145 x^2)
//   tanh:       act' = 1 - tanh(x)^2
//   silu:       x s(x) (Elfwing et al. 2017; Swish);  act' = s + x s', and s' = e^-x s^2 = s (1 - s)
//   quick_gelu: x s(b x), b = 1.702 (Hendrycks and Gimpel 2016);  act' = s + b x s (1 - s), s at b x
//   mish:       x t, t = tanh(log(1 + e^x)) (Misra 2019). With w = e^x and n = w (w + 2) it is t = n / (n + 2), and
//               1 - t^2 = 4 (w + 1)^2 / (n + 2)^2; log(1 + e^x) has the slope w / (w + 1), so that
//               act' = t + x (1 - t^2) w / (w + 1) = t + 4 x w (w + 1) / (n + 2)^2
// (0.5 (1 + tanh u) = s(2u), so gelu_tanh is Hendrycks and Gimpel's 0.5 x (1 + tanh u).)
//
// Saved for backward: x. Written: y (which may be x), dx (which may be dy).
//
// Numerics: kernels/elementwise/cpu/activation.h, about 1e-6 absolute. Large |x| neither overflow nor give NaN. A NaN
// gives a NaN.
#pragma once

#include "kernels/arguments.h"

namespace engine {

// silu(x) = x s(x) and quick_gelu(x) = x s(1.702 x) are x s(b x). As far from 0 as the bound these are 0 or x to within
// 1e-33, and their slopes 0 or 1.
template <Activation activation>
inline constexpr bool is_swish = activation == Activation::silu || activation == Activation::quick_gelu;
template <Activation activation>
inline constexpr float swish_factor = activation == Activation::silu ? 1.0f : 1.702f;  // b
template <Activation activation>
inline constexpr float swish_bound = 80.0f / swish_factor<activation>;

// From this bound on mish(x) is x, and its slope 1. As far below 0 as the other bound both are 0.
inline constexpr float mish_bound = 20.0f, mish_lowest = -100.0f;

struct ActivationForwardArgs {
  Tensor x, y;  // y may be x
  Activation activation;

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    each("y", y, Role::output);
  }
};
struct ActivationBackwardArgs {
  Tensor x, dy, dx;  // dx may be dy
  Activation activation;

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    each("dy", dy, Role::input);
    each("dx", dx, Role::output);
  }
};

// Checks that the arguments fit one another.
void check_activation_operation(const ActivationForwardArgs&);
void check_activation_operation(const ActivationBackwardArgs&);

}  // namespace engine
