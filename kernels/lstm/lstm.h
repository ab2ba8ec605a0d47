// The recurrence of a long short-term memory (Hochreiter and Schmidhuber 1997, with forget gates by Gers et al. 2000)
// over the sequences of a flat row of tokens. The products of a layer that do not wait for the step before are
// ordinary ones over all tokens: a Linear gives the gates' sums from the inputs before lstm_forward, and takes their
// gradients behind lstm_backward.
//
// Row t of a sequence has the four gates' sums p = x_t W_ih^T + bias + h_{t-1} W_hh^T, [4C], in PyTorch's order
// i | f | g | o. One bias stands for PyTorch's two, whose sum alone counts. With s(z) = 1 / (1 + e^-z), element by
// element,
//   i = s(p_i), f = s(p_f), g = tanh(p_g), o = s(p_o)
//   c_t = f c_{t-1} + i g,   h_t = o tanh(c_t)
//
// Backward. Let dh be the gradient of h_t, which is dy_t and what the next row gives, and dc that of c_t, which begins
// with what the next row gives. With T = tanh(c_t):
//   dc += dh o (1 - T^2)
//   dp_i = dc g i (1 - i),  dp_f = dc c_{t-1} f (1 - f),  dp_g = dc i (1 - g^2),  dp_o = dh T o (1 - o)
//   the row before gets dc f for its dc, and dp W_hh for its dh
// With dp of all rows the rest are products: dx = dp W_ih, dW_ih += dp^T x, dbias += column sums of dp, and
// dW_hh += dp^T h_before, where h_before has h_{t-1} for each row, which lstm_backward writes.
//
// Saved: gates (i | f | g | o in place of the sums), y and c. Written (=): all that is not an input.
//
// The CPU orders the sequences by length, so that those that still run at a step are the first rows of one product
// h W_hh^T. W_hh is packed once a call unless the caller did so. A device does not know the lengths on the host: its
// step multiplies the rows of all sequences, and a kernel passes over those that have ended.
//
// Numerics: sums, c and all that goes from row to row are f32, but h, which is rounded to y's dtype before W_hh
// multiplies it. In bf16 the gates are rounded where they are stored. Saturated gates give 0 and 1, not NaN.
#pragma once

#include "kernels/arguments.h"

namespace engine {

struct LstmForwardArgs {
  Tensor gates;             // [N, 4C], x W_ih^T + bias before, the gates behind
  Tensor weight;            // [4C, C], W_hh, f32 or bf16
  Tensor packed_weight;     // optional, the transpose of weight by pack_matrix
  Segments segments;
  Tensor first_h, first_c;  // optional, f32 [S, C], h and c before each sequence; absent: 0
  Tensor y;                 // [N, C] in the dtype of gates, h of each row
  Tensor c;                 // f32 [N, C], c of each row
  Tensor last_h, last_c;    // optional, f32 [S, C], h and c behind each sequence
  DType compute = DType::f32;

  template <class Each>
  void each_tensor(const Each& each) {
    each("gates", gates, Role::both);
    each("weight", weight, Role::input);
    segments.each_tensor("segments.begin", "segments.end", each);
    each("first_h", first_h, Role::input);
    each("first_c", first_c, Role::input);
    each("y", y, Role::output);
    each("c", c, Role::output);
    each("last_h", last_h, Role::output);
    each("last_c", last_c, Role::output);
  }
  double flops() const { return 2.0 * static_cast<double>(gates.count()) * static_cast<double>(weight.cols()); }
};

struct LstmBackwardArgs {
  Tensor gates, weight;     // as forward had and left them
  Segments segments;
  Tensor first_h, first_c;  // as forward had them
  Tensor y, c;              // forward's
  Tensor dy;                // [N, C]
  Tensor dlast_h, dlast_c;  // optional, f32 [S, C]
  Tensor dgates;            // [N, 4C] in the dtype of gates, the gradient of the sums
  Tensor h_before;          // [N, C] in the dtype of gates, h before each row
  Tensor dfirst_h, dfirst_c;  // optional, f32 [S, C]
  DType compute = DType::f32;

  template <class Each>
  void each_tensor(const Each& each) {
    each("gates", gates, Role::input);
    each("weight", weight, Role::input);
    segments.each_tensor("segments.begin", "segments.end", each);
    each("first_h", first_h, Role::input);
    each("first_c", first_c, Role::input);
    each("y", y, Role::input);
    each("c", c, Role::input);
    each("dy", dy, Role::input);
    each("dlast_h", dlast_h, Role::input);
    each("dlast_c", dlast_c, Role::input);
    each("dgates", dgates, Role::output);
    each("h_before", h_before, Role::output);
    each("dfirst_h", dfirst_h, Role::output);
    each("dfirst_c", dfirst_c, Role::output);
  }
  double flops() const { return 2.0 * static_cast<double>(gates.count()) * static_cast<double>(weight.cols()); }
};

// Check that the arguments fit one another, but not the segments' values. packed_bytes are the bytes that packed_weight
// must have, where it is given.
void check_lstm_forward(const LstmForwardArgs&, size_t packed_bytes);
void check_lstm_backward(const LstmBackwardArgs&);

}  // namespace engine
