// The loss of which rows of a sequence an answer covers: binary cross entropy of the probability that a row lies
// between the answer's first row and its last, against the answer's mask.
//
// For a sequence of n rows with the logits z_i of the first row (column 0) and r_i of the last one (column 1), and a
// mask 0 <= m_i <= 1:
//   p = softmax(z), A_i = sum_{j<=i} p_j,   o = softmax(r), B_i = sum_{j>=i} o_j,   q_i = A_i B_i
//   loss = 1/n sum_i (-m_i log q_i - (1 - m_i) log(1 - q_i))
// A sequence whose mask is 0 everywhere has no answer. It takes no part: its loss is 0, and so are its gradients.
//
// With A'_i = sum_{j>i} p_j = 1 - A_i and B'_i = sum_{j<i} o_j = 1 - B_i it is 1 - q_i = A'_i + A_i B'_i, a sum of
// positive terms. Backward: dA_i/dz_j = p_j ([j <= i] - A_i), which is p_j A'_i for j <= i and -p_j A_i else, and so
//   d(-log A_i)/dz_j      = -p_j A'_i / A_i         for j <= i,   p_j                      for j > i
//   d(-log(1 - q_i))/dz_j = p_j A'_i B_i / (1-q_i)  for j <= i,   -p_j A_i B_i / (1-q_i)   for j > i
//   dz_j = g/n p_j (- sum_{i>=j} m_i A'_i / A_i + sum_{i>=j} (1 - m_i) A'_i B_i / (1 - q_i)
//                   + sum_{i<j} m_i - sum_{i<j} (1 - m_i) A_i B_i / (1 - q_i))
// Reversing the rows exchanges z, A and r, B, so dr_j has the same form with i <= j in place of i >= j.
//
// Nothing is saved. Added to: total (weight times the loss sum), dlogits (g = weight times gradient_scale). Sequences
// have no row in common.
// Numerics: A, A', B, B' and 1 - q are kept as logarithms, so that neither a product nor a quotient overflows or
// vanishes, however far logits are apart (span_mask_steps.h). A logarithm errs by some roundings of its own size for
// each row before. A row of the mask that the logits rule out (-infinity) makes the loss infinite, a NaN makes it NaN.
#pragma once

#include "kernels/checks.h"

namespace engine {

struct SpanMaskLossArgs {
  Tensor logits;             // f32 [N, 2]
  Segments segments;         // S sequences of the N rows
  Tensor mask;               // f32 [N]
  float weight = 1;          // of the loss in the total
  Tensor total;              // f32 [1], += weight times the loss sum
  float gradient_scale = 1;  // of the total
  Tensor dlogits;            // optional f32 [N, 2], +=

  template <class Each>
  void each_tensor(const Each& each) {
    each("logits", logits, Role::input);
    segments.each_tensor("segments.begin", "segments.end", each);
    each("mask", mask, Role::input);
    each("total", total, Role::both);
    each("dlogits", dlogits, Role::both);
  }
};

// Checks the arguments but for the segments' values, which each backend checks where they are.
inline void check_span_mask_loss(const SpanMaskLossArgs& args) {
  const char* name = "span_mask_loss";
  const int64_t rows = args.logits.rows();
  check_matrix(name, "logits", args.logits, DType::f32, rows, 2);
  check_vector(name, "mask", args.mask, DType::f32, rows);
  check_vector(name, "segments.end", args.segments.end, DType::i32, args.segments.count());
  check_vector(name, "total", args.total, DType::f32, 1);
  if (args.dlogits) check_matrix(name, "dlogits", args.dlogits, DType::f32, rows, 2);
}

}  // namespace engine
