// Attention with relative tables on the CPU (attention/cpu/relative.cc), in f32 for all dtypes.
#pragma once

#include "core/arena.h"
#include "kernels/ops.h"

namespace engine::ENGINE_ISA {

// Take arguments that check_attention has passed, with tables. width is D.
void attention_forward_relative(const AttentionForwardArgs& args, int64_t width, Arena& workspace);
void attention_backward_relative(const AttentionBackwardArgs& args, int64_t width, Arena& workspace);

}  // namespace engine::ENGINE_ISA
