// Thought states make a decoder recurrent at its thought tokens. The state that stands at the token before a thought is
// captured, as a mixture of the residual stream behind the L blocks, and injected at the thought, at every block's
// input. With x_l(p) the stream at boundary l (StreamTap) of position p, and a thought at p:
//   c = sum_l softmax(a)_l x_(l+1)(p - 1), l = 0 ... L-1      before the last layernorm; a: capture [L]
//   d = layernorm(c), or c itself
//   x_l(p) += relu(b_l) d, l = 0 ... L-1                      b: inject [L]
// a begins as l / max(1, L / 6), so that the last blocks count most, and b as (L - l) / L.
//
// Backward, with dx_l the gradient of the stream behind the injection (kernels/rows/scaled_rows.h):
//   dd = sum_l relu(b_l) dx_l(p),  db_l += <dx_l(p), d> where b_l > 0
//   dc from dd by the layernorm's derivative;  dx_(l+1)(p - 1) += softmax(a)_l dc,  da by the softmax's derivative
// So a row's state at p - 1 has to be known before the row goes on at p: see thought_recurrence.h.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "models/config.h"
#include "models/layers.h"

namespace engine {

// Cuts tokens before each thought but the first token: {1, T, T, 2} gives {1}, {T}, {T, 2}. Without a thought (-1)
// there is one part.
std::vector<std::span<const int32_t>> parts_at_thoughts(std::span<const int32_t> tokens, int32_t thought);

// The parameters of thought states: a, b and those of the layernorm.
struct ThoughtStates {
  Parameter *capture = nullptr, *inject = nullptr;
  std::optional<ResidualNorm> norm;

  // Adds them to the table where the model has thought states.
  ThoughtStates(Parameters& table, const ModelConfig& config);
  explicit operator bool() const { return capture != nullptr; }

  struct Saved {
    ResidualNorm::Saved norm;
  };
  // Returns d f32 [T, C] from c f32 [T, C], which stays in use until the backward pass.
  Tensor dense(Pass& pass, const Tensor& captured, Saved& saved) const;
  // Writes dc f32 [T, C] from dd, and adds to the gradients of the layernorm.
  void dense_backward(Pass& pass, const Tensor& ddense, const Saved& saved, const Tensor& dcaptured) const;
};

// A ThoughtTap captures and injects in one pass. Rows are those of the pass, i32, none twice, and may be absent.
class ThoughtTap final : public StreamTap {
 public:
  explicit ThoughtTap(const ThoughtStates& states) : states_(states) {}

  // Comes before a pass. Injects the rows of `dense` f32 [T, C] at inject_rows [T], and adds what it captures at
  // capture_rows [R] to `captured` f32 [R, C], which comes as zeros.
  void begin(const Tensor& inject_rows, const Tensor& dense, const Tensor& capture_rows, const Tensor& captured);
  // Comes before its backward pass. dcaptured f32 [R, C] is the gradient of `captured`; absent: 0. The pass adds to
  // ddense f32 [T, C], which comes as zeros where there is something to inject.
  void begin_backward(const Tensor& dcaptured, const Tensor& ddense);

  bool is_at(int64_t boundary) const override;
  void forward(Pass& pass, int64_t boundary, const Tensor& x) override;
  void backward(Pass& pass, int64_t boundary, const Tensor& dx) override;

 private:
  bool injects_at(int64_t boundary) const { return inject_rows_ && boundary < layers(); }
  bool captures_at(int64_t boundary) const { return capture_rows_ && boundary > 0; }
  int64_t layers() const { return states_.capture->shape[0]; }

  const ThoughtStates& states_;
  Tensor inject_rows_, dense_, ddense_, capture_rows_, captured_, dcaptured_;
  std::vector<Tensor> streams_;  // f32 [R, C] at each boundary, where a backward pass follows
};

}  // namespace engine
