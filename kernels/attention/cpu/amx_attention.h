// Attention on bf16 in the tile registers of processors that have AMX (attention/cpu/forward_amx.cc,
// attention/cpu/backward_amx.cc).
#pragma once

#include "core/arena.h"
#include "kernels/backend/backend.h"

namespace engine::ENGINE_ISA {

// Tells whether the functions below serve. They take arguments that check_attention has passed, and width is D.
#if defined(__AVX512F__)
template <class Args>
bool runs_on_amx(const Args& a) {
  const auto is_bf16 = [](const Columns& part) { return part.matrix.dtype == DType::bf16; };
  return is_bf16(a.q) && is_bf16(a.k) && is_bf16(a.v) && cpu_has_bf16_matrix_units();
}
void attention_forward_amx(const AttentionForwardArgs& args, int64_t width, Arena& workspace);
void attention_backward_amx(const AttentionBackwardArgs& args, int64_t width, Arena& workspace);
#else
template <class Args>
bool runs_on_amx(const Args&) {
  return false;
}
inline void attention_forward_amx(const AttentionForwardArgs&, int64_t, Arena&) {}
inline void attention_backward_amx(const AttentionBackwardArgs&, int64_t, Arena&) {}
#endif

}  // namespace engine::ENGINE_ISA
