// A student's logits against a teacher's: soft targets at a temperature (Hinton et al. 2015), as DistilBERT learns from
// them (Sanh et al. 2019).
//
// For a row, with the student's logits s, the teacher's t and the temperature T:
//   q_v = e^(s_v / T) / sum e^(s / T),   p_v = e^(t_v / T) / sum e^(t / T)
//   loss = T^2 KL(p || q) = T^2 sum_v p_v (log p_v - log q_v)
//        = T^2 (sum_v p_v (t_v - s_v) / T - lse(t / T) + lse(s / T))
// Backward: d lse(s / T) / ds_v = q_v / T and the teacher stands still, so with the gradient_scale g
//   ds_v = g T^2 (q_v - p_v) / T = g T (q_v - p_v)
// The factor T^2 keeps the size of the gradient where T changes: q - p shrinks as 1 / T. KL differs from the cross
// entropy of the soft targets by the entropy of p, which does not depend on the student: it is 0 for equal logits.
//
// Nothing is saved. Written: dlogits (may be the logits themselves), row_losses. Added to: totals (loss sum, rows).
// Numerics: logits less their row's largest are divided by T and exponentiated, so that nothing overflows; a term with
// p_v = 0 is 0, whatever the logits are, so a token that the teacher rules out (-infinity) costs nothing. One that the
// student rules out and the teacher does not makes the loss infinite; a NaN makes it NaN. A loss errs by about
// T |t - s| roundings of f32, however small it is.
#pragma once

#include "kernels/losses/row_losses.h"

namespace engine {

struct SoftCrossEntropyArgs {
  Tensor logits;             // f32 [R, V], the student's
  Tensor targets;            // f32 [R, V], the teacher's logits
  float temperature = 1;
  Tensor totals;             // f32 [2], += loss sum, R
  Tensor row_losses;         // optional f32 [R], =
  float gradient_scale = 1;  // of the loss sum
  Tensor dlogits;            // optional f32 [R, V], =; may be logits

  template <class Each>
  void each_tensor(const Each& each) {
    each("logits", logits, Role::input);
    each("targets", targets, Role::input);
    each("totals", totals, Role::both);
    each("row_losses", row_losses, Role::output);
    each("dlogits", dlogits, Role::output);
  }
};

inline void check_soft_cross_entropy(const SoftCrossEntropyArgs& args) {
  const char* name = "soft_cross_entropy";
  const int64_t rows = args.logits.rows(), cols = args.logits.cols();
  check_matrix(name, "logits", args.logits, DType::f32, rows, cols);
  check_matrix(name, "targets", args.targets, DType::f32, rows, cols);
  check_row_losses(name, rows, args.totals, args.row_losses);
  if (args.dlogits) check_matrix(name, "dlogits", args.dlogits, DType::f32, rows, cols);
  require(args.temperature > 0, name, ": temperature is ", args.temperature, ", not above 0");
}

}  // namespace engine
