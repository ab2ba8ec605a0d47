// AdamW over many tensors in one pass, the sum of squares that clipping by all gradients' norm needs, and clipping of
// each gradient by its own norm.
//
// For every element, with the gradient's sum of squares |G|^2 over all tensors (Loshchilov and Hutter 2019, in the
// order of operations of PyTorch's AdamW):
//   g = gradient min(1, max_norm / |G|)              (clipping, where max_norm > 0)
//   value *= 1 - lr weight_decay                     (where the tensor decays), lr = learning_rate learning_rate_scale
//   m = m + (1 - beta1) (g - m),   v = beta2 v + (1 - beta2) g^2
//   value -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
//   gradient = 0 (unless the tensor keeps it)
// Written: value, m, v, gradient (0); and where the tensor has one, rounded = value in bf16, for the products that read
// it, which then need not round it.
//
// Numerics: the factors that depend on the step are taken in double. If norm_squared or loss is given and not finite,
// nothing at all is written (a gradient that is not finite makes |G| not finite): the host need not wait for these two
// before the update, and tells from them afterwards whether there was one. Without them such a gradient makes a NaN of
// its own element. On a device, which reports a wrong index when results are next copied to the host, an update that
// comes before that writes nothing either: the error finds parameters and moments as they were. With `failed`, an
// update that is left out sets it, and while it is set updates are left out. So a host that sees a step late finds
// parameters and moments as they were before it.
//
// sum_of_squares: result = sum over all tensors of x^2. Squares of a piece (16 thousand elements) are summed in f32 by
// many running sums, the pieces in double in their order. A NaN gives a NaN, an infinity or an overflow an infinity.
//
// clip_norms: gradient *= min(1, max_norm / |gradient|) for every tensor by itself, and result = the sum over all
// tensors of the squared norms that remain, min(|gradient|, max_norm)^2. So it takes the place of sum_of_squares. Norms
// are summed as there. Where a norm is not finite, its gradient stays and result is not finite.
//
// All are bound by memory: 32 bytes an element read and written by adamw, 34 with rounded, 4 by sum_of_squares, 4 by
// clip_norms and 8 more in a gradient that is scaled. All tensors are divided into pieces that are handed out in one
// go: many small ones cost no more than a few large ones.
//
// A vocabulary's rows that no sequence has named have gradient, m and v 0, and their update is the decay alone, to the
// bit. With touched blocks it costs 8 bytes an element, or nothing where nothing decays. Rows that an earlier step has
// named, but not this one, cost 24. A caller that sets m or v marks the blocks where they are not 0.
#pragma once

#include <span>

#include "kernels/arguments.h"

namespace engine {

struct AdamWTensor {
  Tensor value, gradient, m, v;  // f32, of one shape
  float learning_rate_scale = 1;
  bool decays = false;
  bool keeps_gradient = false;   // leaves a gradient that is written next; no touched blocks
  Tensor touched_blocks;         // optional TouchedBlocks of gradient, m and v; changes no result
  Tensor rounded;                // optional bf16, = value wherever value is written

  template <class Each>
  void each_tensor(const Each& each) {
    each("value", value, Role::both);
    each("gradient", gradient, Role::both);
    each("m", m, Role::both);
    each("v", v, Role::both);
    each("touched_blocks", touched_blocks, Role::both);
    each("rounded", rounded, Role::both);
  }
};
struct AdamWArgs {
  std::span<const AdamWTensor> tensors;
  float learning_rate, beta1, beta2, epsilon, weight_decay;
  int64_t step;         // from 1, for the bias correction
  Tensor norm_squared;  // f32 [1] from sum_of_squares; optional where max_norm is 0
  Tensor loss;          // optional, f32 [1], the step's
  Tensor failed;        // optional, i32 [1], not 0 since a step that was not finite
  Tensor factors;       // optional, u8 [sizeof(AdamWFactors)]: adamw_factors, which a device reads there
  float max_norm = 0;   // 0: no clipping

  // The elements of `tensors` list theirs.
  template <class Each>
  void each_tensor(const Each& each) {
    each("norm_squared", norm_squared, Role::input);
    each("loss", loss, Role::input);
    each("failed", failed, Role::both);
    each("factors", factors, Role::input);
  }
};

struct SumOfSquaresArgs {
  std::span<const Tensor> tensors;  // f32
  Tensor result;                    // f32 [1], =; not finite where any element is not

  template <class Each>
  void each_tensor(const Each& each) {
    each("result", result, Role::output);
  }
};

struct ClippedTensor {
  Tensor gradient;  // f32

  template <class Each>
  void each_tensor(const Each& each) {
    each("gradient", gradient, Role::both);
  }
};
struct ClipNormsArgs {
  std::span<const ClippedTensor> tensors;
  float max_norm;  // above 0
  Tensor result;   // f32 [1], =; not finite where any element is not

  // The elements of `tensors` list theirs.
  template <class Each>
  void each_tensor(const Each& each) {
    each("result", result, Role::output);
  }
};

// Check that the arguments fit one another.
void check_adamw(const AdamWArgs&);
void check_sum_of_squares(const SumOfSquaresArgs&);
void check_clip_norms(const ClipNormsArgs&);

// The factors of a step, which are the same for all elements of a tensor.
struct AdamWFactors {
  float one_minus_beta1, beta2, one_minus_beta2, inverse_root_correction2, epsilon;
  double rate;        // learning_rate / (1 - beta1^step)
  double decay_rate;  // learning_rate * weight_decay

  // Return the factor of a tensor's update, and that of its value before the update.
  constexpr float rate_of(float learning_rate_scale) const {
    return static_cast<float>(rate * static_cast<double>(learning_rate_scale));
  }
  constexpr float keep_of(float learning_rate_scale, bool decays) const {
    return decays ? static_cast<float>(1 - decay_rate * static_cast<double>(learning_rate_scale)) : 1.0f;
  }
};
AdamWFactors adamw_factors(const AdamWArgs&);

}  // namespace engine
