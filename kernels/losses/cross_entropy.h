// Projection onto the vocabulary and cross entropy, fused: the R x V logits never exist at once.
//
// Forward, of a row r with label y, weight w (1 where row_weights is absent) and label smoothing e:
//   l_v = sum_c x_c weight_vc + bias_v,   lse = log sum_v e^l_v,   nll(v) = lse - l_v
//   loss = w ((1-e) nll(y) + e mean_v nll(v)) = w (lse - (1-e) l_y - e mean_v l_v)
// Backward, with p_v = e^(l_v - lse) = d lse / d l_v and s the gradient_scale:
//   dl_v = s w (p_v - (1-e) [v = y] - e / V)
//   dx = dl weight,   dweight += dl^T x,   dbias += sum_rows dl
// A row may have a penalty u on one token t, the same in all rows, that should not come (the unlikelihood of Welleck et
// al. 2019). With q = max(1 - p_t, 1e-6) it adds
//   -u log q to the loss,   s u (p_t / q) ([v = t] - p_v) to dl_v
// Forward and backward of some rows are done together while their logits are in cache, so nothing is saved.
//
// Written: dx (0 in ignored rows), row_losses (0 there too). Added to: totals (loss sum, weight sum, rows whose largest
// logit is the label's: the lowest token among equals), dweight, dbias. Without dx no gradient is taken. dweight and
// dbias may be left out where the projection does not learn.
//
// Rows labelled -100 are left out before the projection: their elements have no influence. A label that is neither -100
// nor a token is an error that names its row. On a device the row counts as ignored, and the error comes when results
// are next read.
// Numerics: logits are f32 in every precision, and exponents are taken of their differences to the row's largest logit,
// so that nothing overflows. A NaN or an infinite logit makes its row's loss NaN. Under bf16 compute dl is rounded to
// bf16, as the matrix products would. Determinism: chunks of rows follow from the shape, and the rows' losses are
// summed in their order, in double.
#pragma once

#include "kernels/arguments.h"

namespace engine {

struct CrossEntropyArgs {
  Tensor x;                  // [R, C]
  Tensor weight;             // f32 or bf16 [V, C]
  Tensor bias;               // optional f32 [V]
  Tensor labels;             // i32 [R]; a row with the label -100 has loss 0 and gradient 0
  Tensor row_weights;        // optional f32 [R]
  Tensor penalties;          // optional f32 [R], weight of the penalty on penalised_token
  int32_t penalised_token = -1;
  float label_smoothing = 0;
  DType compute = DType::f32;
  Tensor totals;             // f32 [3], += loss sum, weight sum, rows whose largest logit is the label's
  Tensor row_losses;         // optional f32 [R], = (with the row's weight and penalty)
  Tensor ranks;              // optional i32 [R], = rank of the label among the row's logits (rank.h)
  int32_t ranked_token = -1; // takes the ranks of this token instead of the labels'
  Tensor likeliest;          // optional i32 [R], = the largest logit's token, the lowest among equals
  float gradient_scale = 1;  // of the loss sum; a step divides by its weight sum, known from the labels
  Tensor dx;                 // optional [R, C], =; without it no gradient is taken
  Tensor dweight, dbias;     // f32, += (dbias as bias)

  template <class Each>
  void each_tensor(const Each& each) {
    each("x", x, Role::input);
    each("weight", weight, Role::input);
    each("bias", bias, Role::input);
    each("labels", labels, Role::input);
    each("row_weights", row_weights, Role::input);
    each("penalties", penalties, Role::input);
    each("totals", totals, Role::both);
    each("row_losses", row_losses, Role::output);
    each("ranks", ranks, Role::both);  // ignored rows stay
    each("likeliest", likeliest, Role::both);
    each("dx", dx, Role::output);
    each("dweight", dweight, Role::both);
    each("dbias", dbias, Role::both);
  }
  // The logits, and from them the gradients of x and weight.
  double flops() const {
    return (dx ? 6.0 : 2.0) * static_cast<double>(x.count()) * static_cast<double>(weight.rows());
  }
};

inline constexpr int32_t ignored_label = -100;
inline constexpr float least_rest = 1e-6f;  // of q, the probability of all other tokens

// Checks that the arguments fit one another, but not the labels' values.
void check_cross_entropy(const CrossEntropyArgs&);

// Returns how many of `rows` are done at once if `budget` bytes may hold their vocabulary-wide rows. Pieces are about
// equally long, multiples of 32 but for the last, and no longer than most_rows.
int64_t rows_within(int64_t budget, int64_t rows, int64_t bytes_a_row, int64_t most_rows);

}  // namespace engine
