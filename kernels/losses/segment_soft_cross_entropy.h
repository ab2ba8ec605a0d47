// A student's logits against a teacher's over the rows of each sequence: which of its rows is meant, by soft targets at
// a temperature (Hinton et al. 2015). It is soft_cross_entropy.h down the columns of segment_cross_entropy.h.
//
// For a sequence s, a column k and the rows i of s, with the student's logits z_ik, the teacher's t_ik and the
// temperature T:
//   q_ik = e^(z_ik / T) / sum_j e^(z_jk / T),   p_ik = e^(t_ik / T) / sum_j e^(t_jk / T)
//   loss = T^2 KL(p || q) = T^2 sum_i p_ik (log p_ik - log q_ik), summed over both s and k
// Backward: as there, the teacher stands still, and with the gradient_scale g
//   dz_ik = g T (q_ik - p_ik)
//
// Nothing is saved. Added to: totals (loss sum, S), dlogits. Rows that no sequence has are left as they are.
// Numerics: those of soft_cross_entropy.h. A sequence without rows has the loss 0.
#pragma once

#include "kernels/checks.h"

namespace engine {

struct SegmentSoftCrossEntropyArgs {
  Tensor logits;             // f32 [N, K], the student's
  Segments segments;         // S sequences of the N rows
  Tensor targets;            // f32 [N, K], the teacher's logits
  float temperature = 1;
  Tensor totals;             // f32 [2], += loss sum, S
  float gradient_scale = 1;  // of the loss sum
  Tensor dlogits;            // optional f32 [N, K], +=

  template <class Each>
  void each_tensor(const Each& each) {
    each("logits", logits, Role::input);
    segments.each_tensor("segments.begin", "segments.end", each);
    each("targets", targets, Role::input);
    each("totals", totals, Role::both);
    each("dlogits", dlogits, Role::both);
  }
};

// Checks the arguments but for the segments' values, which each backend checks where they are.
inline void check_segment_soft_cross_entropy(const SegmentSoftCrossEntropyArgs& args) {
  const char* name = "segment_soft_cross_entropy";
  const int64_t rows = args.logits.rows(), cols = args.logits.cols();
  check_matrix(name, "logits", args.logits, DType::f32, rows, cols);
  check_matrix(name, "targets", args.targets, DType::f32, rows, cols);
  check_vector(name, "segments.end", args.segments.end, DType::i32, args.segments.count());
  check_vector(name, "totals", args.totals, DType::f32, 2);
  if (args.dlogits) check_matrix(name, "dlogits", args.dlogits, DType::f32, rows, cols);
  require(args.temperature > 0, name, ": temperature is ", args.temperature, ", not above 0");
}

}  // namespace engine
