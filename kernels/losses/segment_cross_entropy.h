// Cross entropy over the rows of each sequence: which of its rows is meant, as where an answer begins and where it ends
// (Devlin et al. 2018, section 4.2). Every column of the logits asks for a row of its own.
//
// For a sequence s, a column k and the rows i of s, with logits z_ik and targets y_ik >= 0, which need not sum to 1:
//   p_ik = e^(z_ik) / sum_j e^(z_jk)
//   loss = sum_sk sum_i y_ik (lse_sk - z_ik),  lse_sk = log sum_j e^(z_jk)
// So a target of weight w on one row is w times the cross entropy of that row, and targets on several rows are soft.
// Backward: d lse_sk / dz_ik = p_ik, so with w_sk = sum_i y_ik and the gradient_scale g
//   dz_ik = g (w_sk p_ik - y_ik)
//
// Nothing is saved. Written: dlogits (may be the logits themselves), row_losses. Added to: totals (loss sum, S, and the
// sequences in which every column's likeliest row is the one with the largest target, the first of equal ones; where
// the loss is a NaN nothing is right).
// Numerics: logits less their column's largest are exponentiated, so that nothing overflows. A term with y_ik = 0 is 0,
// whatever the logit is. A row of -infinity that is meant makes the loss infinite, a NaN makes it NaN. A sequence
// without rows has the loss 0. Rows that no sequence has are left as they are.
#pragma once

#include "kernels/checks.h"

namespace engine {

struct SegmentCrossEntropyArgs {
  Tensor logits;             // f32 [N, K]
  Segments segments;         // S sequences of the N rows
  Tensor targets;            // f32 [N, K]
  Tensor totals;             // f32 [3], += loss sum, S, right sequences
  Tensor row_losses;         // optional f32 [S], =
  float gradient_scale = 1;  // of the loss sum
  Tensor dlogits;            // optional f32 [N, K], =; may be logits

  template <class Each>
  void each_tensor(const Each& each) {
    each("logits", logits, Role::input);
    segments.each_tensor("segments.begin", "segments.end", each);
    each("targets", targets, Role::input);
    each("totals", totals, Role::both);
    each("row_losses", row_losses, Role::output);
    each("dlogits", dlogits, Role::output);
  }
};

// Checks the arguments but for the segments' values, which each backend checks where they are.
inline void check_segment_cross_entropy(const SegmentCrossEntropyArgs& args) {
  const char* name = "segment_cross_entropy";
  const int64_t rows = args.logits.rows(), cols = args.logits.cols();
  check_matrix(name, "logits", args.logits, DType::f32, rows, cols);
  check_matrix(name, "targets", args.targets, DType::f32, rows, cols);
  check_vector(name, "segments.end", args.segments.end, DType::i32, args.segments.count());
  check_vector(name, "totals", args.totals, DType::f32, 3);
  if (args.row_losses) check_vector(name, "row_losses", args.row_losses, DType::f32, args.segments.count());
  if (args.dlogits) check_matrix(name, "dlogits", args.dlogits, DType::f32, rows, cols);
}

}  // namespace engine
