// A SpanHead adds to the two logits of every row that a head for answers gives, z = F W^T + b of the features F [R, C]
// (column 0: an answer begins there, column 1: it ends there). Both parts are optional.
//   dense:  z += A V^T,  A = mish(T),  T = F D^T + d.  With W beside V that is a linear layer on [F, A].
//   chain:  z_to += u z_from.  With u beside W and V that is a layer on [F, A, z_from], from which the end sees where
//           the answer begins (from 0, to 1), or the other way round.
// Backward from dz, in this order:
//   chain:  du = sum_r dz_r,to z_r,from;  dz_from += u dz_to  (kernels/rows/column_chain.h; z_from is what it was)
//   head:   dF = dz W;  dW += dz^T F;  db += column sums of dz
//   dense:  dA = dz V;  dV += dz^T A;  dT = dA mish'(T);  dF += dT D;  dD += dT^T F;  dd += column sums of dT
#pragma once

#include <optional>

#include "models/config.h"
#include "models/layers.h"

namespace engine {

struct SpanHead {
  struct Saved {
    Tensor before, dense;  // [R, C], T and A
  };
  std::optional<Linear> dense;   // D, d
  Linear outputs;                // V [2, C]
  Parameter* chain = nullptr;    // u [1]
  int64_t from = 0, to = 1;

  // Adds the parts that config.span_dense and config.span_order name, "span_dense" and "span_order". The weight of the
  // chain begins at 0, so that a model begins as it would without it.
  void add(Parameters& table, const ModelConfig& config, int64_t width);

  // Adds to the logits f32 [R, 2]. `saved` receives tensors on run.arena.
  void forward(const Run& run, const Tensor& features, const Tensor& logits, Saved& saved) const;
  // The two steps of the backward pass, before that of the head's own projection and after it. The first one changes
  // dlogits f32 [R, 2] in place. The second one adds to dfeatures [R, C].
  void chain_backward(const Run& run, const Tensor& logits, const Tensor& dlogits) const;
  void dense_backward(const Run& run, const Tensor& dlogits, const Tensor& features, const Saved& saved,
                      const Tensor& dfeatures) const;
};

}  // namespace engine
