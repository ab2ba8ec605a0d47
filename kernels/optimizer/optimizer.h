// AdamW over many tensors in one pass, and the sum of squares that clipping needs.
//
// Of every element, with the gradient's sum of squares |G|^2 over all tensors (Loshchilov and Hutter 2019, in the order
// of operations of PyTorch's AdamW):
//   g = gradient min(1, max_norm / |G|)              (clipping, where max_norm > 0)
//   value *= 1 - lr weight_decay                     (where the tensor decays), lr = learning_rate learning_rate_scale
//   m = m + (1 - beta1) (g - m),   v = beta2 v + (1 - beta2) g^2
//   value -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
//   gradient = 0 (unless the tensor keeps it)
// Written: value, m, v, gradient (0); and where the tensor has one, rounded = value in bf16, for the products that read
// it: nobody need round it at each of them.
//
// Numerics: the factors that depend on the step are taken in double. A gradient that is not finite makes |G| not
// finite, and then, or where the loss is not, nothing at all is written: no one need wait for these two before the
// update, and who reads them afterwards knows whether there was one. Without them such a gradient makes a NaN of its
// own element. On a device, which tells of a wrong index when results are next copied to the host, an update that comes
// before that writes nothing either: the error finds parameters and moments as they were.
//
// sum_of_squares: result = sum over all tensors of x^2. Squares of a piece (16 thousand elements) are summed in f32 by
// many running sums, the pieces in double in their order. A NaN gives a NaN, an infinity or an overflow an infinity.
//
// Both are bound by memory: 32 bytes an element read and written by adamw, 34 with rounded, 4 by sum_of_squares. All
// tensors are cut into pieces that are handed out in one go: many small ones cost no more than a few large ones.
//
// A vocabulary's rows that no sequence has named have gradient, m and v 0, and their update is the decay alone, to the
// bit: with BlockNotes it costs 8 bytes an element, nothing where nothing decays; rows that an earlier step has named,
// but not this one, 24. Whoever sets m or v from outside notes where they are not 0.
#pragma once

#include "kernels/ops.h"

namespace engine {

// Errors where the arguments do not fit one another.
void check_adamw(const AdamWArgs&);
void check_sum_of_squares(const SumOfSquaresArgs&);

// The factors of a step, which are the same for all elements of a tensor.
struct AdamWFactors {
  float one_minus_beta1, beta2, one_minus_beta2, inverse_root_correction2, epsilon;
  double rate;        // learning_rate / (1 - beta1^step)
  double decay_rate;  // learning_rate * weight_decay

  // What the update is multiplied with, and the value before it.
  float rate_of(const AdamWTensor& tensor) const {
    return static_cast<float>(rate * static_cast<double>(tensor.learning_rate_scale));
  }
  float keep_of(const AdamWTensor& tensor) const {
    return tensor.decays ? static_cast<float>(1 - decay_rate * static_cast<double>(tensor.learning_rate_scale)) : 1.0f;
  }
};
AdamWFactors adamw_factors(const AdamWArgs&);

}  // namespace engine
